"""What is told to fit a page fits it, whatever the values; what is told not to has a row that does not."""

from __future__ import annotations

import json
import secrets
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, MetaData, exc
from sqlalchemy.dialects import postgresql

from monarch_dagster.migrations.row_width import ROW_BYTES, row_bytes
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.salesforce.describes import project
from monarch_dagster.salesforce.object_meta import Object, ObjectMeta
from monarch_dagster.schema.provider import add_provider_tables

MODES = ("stays", "moved out", "compressed", "by turns")
VALUES = {
    "boolean": "true",
    "smallint": "1",
    "integer": "1",
    "bigint": "1",
    "real": "1",
    "double precision": "1.5",
    "date": "now()",
    "uuid": "gen_random_uuid()",
    "interval": "interval '1 day'",
    "timestamp with time zone": "now()",
    "timestamp without time zone": "now()",
    "time without time zone": "localtime",
    "time with time zone": "now()::timetz",
}
LONG = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 100))"
TEXTS = {"stays": "left(md5(random()::text), 23)", "moved out": LONG, "compressed": "repeat('ab', 100)"}
NUMBERS = [(1, 0), (4, 4), (5, 2), (18, 0), (18, 2), (18, 17), (38, 10), (41, 20), (250, 3), (1000, 500)]
LENGTHS = [1, 4, 5, 6, 15, 18, 22, 23, 24, 40, 255]
KINDS = [*VALUES, "text", *(f"numeric({p},{s})" for p, s in NUMBERS), *(f"character varying({n})" for n in LENGTHS)]


@pytest.fixture(scope="module")
def connection(server: EmbeddedCluster) -> Iterator[Connection]:
    """A database whose transactions are rolled back."""
    name = f"widths_{secrets.token_hex(6)}"
    with connect(server.url(name)) as made:
        yield made
    with connect(server.url("postgres"), autocommit=True) as admin:
        admin.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')


def value(kind: str, mode: str) -> str:
    """Return a value of a type that takes much room: one that stays in the row, is moved out of it, or compressed."""
    if kind in VALUES:
        return VALUES[kind]
    if kind == "text":
        return TEXTS[mode]
    first, *rest = (int(number) for number in kind.partition("(")[2].removesuffix(")").split(","))
    if kind.startswith("numeric"):
        before = "9" * (first - rest[0]) or "0"
        return f"{before}.{'9' * rest[0]}"
    if mode == "compressed" or (mode == "moved out" and first > 23):
        return f"left({TEXTS[mode]}, {first})"
    # Characters of four, two and one bytes that make up 23 bytes, or as many as there may be.
    four, two = divmod(max(23 - first, 0), 3)
    four = min(four, first)
    two = min(two, first - four)
    rest = min(first, 23) - four - two
    return f"repeat(U&'\\+01F600', {four}) || repeat('é', {two}) || left(md5(random()::text), {rest})"


def refused(connection: Connection, kinds: Sequence[str], mode: str, without: int = -1) -> bool:
    """Fill a row of a table of these types; say whether PostgreSQL refuses it for its size."""
    modes = list(TEXTS) if mode == "by turns" else [mode]
    values = [value(kind, modes[number % len(modes)]) for number, kind in enumerate(kinds)]
    if without >= 0:
        values[without] = "NULL"
    run_script(connection, f"CREATE TABLE t ({', '.join(f'c{n} {kind}' for n, kind in enumerate(kinds))})")
    try:
        run_script(connection, f"INSERT INTO t VALUES ({', '.join(values)})")
    except exc.DBAPIError as error:
        assert "row is too big" in str(error.orig)
        return True
    finally:
        connection.rollback()
    return False


def width(kinds: Sequence[str]) -> int:
    return row_bytes({f"column c{number}": kind for number, kind in enumerate(kinds)})


def check_fits(connection: Connection, kinds: Sequence[str]) -> None:
    """Cut a table to what is told to fit, and check that it does, with each kind of value, and with one left out."""
    low, high = 1, min(len(kinds), 1600)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(kinds[:middle]) <= ROW_BYTES else (low, middle - 1)
    fitting = kinds[:low]
    smallest = min(range(len(fitting)), key=lambda number: width([fitting[number]]))
    for mode in MODES:
        assert not refused(connection, fitting, mode)
        assert not refused(connection, fitting, mode, without=smallest)


tables = st.lists(st.sampled_from(KINDS), min_size=1, max_size=12).map(lambda kinds: (kinds * 1600)[:1600])
checked = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)


@settings(checked, max_examples=6, derandomize=True)
@given(kinds=tables)
@example(kinds=["boolean", "text"] * 800)
@example(kinds=["character varying(18)"] * 800)
@example(kinds=["boolean", "timestamp with time zone", "character varying(255)", "numeric(18,2)"] * 400)
def test_what_is_told_to_fit_can_be_inserted(connection: Connection, kinds: list[str]) -> None:
    check_fits(connection, kinds)


@pytest.mark.soak
@settings(checked, max_examples=400)
@given(kinds=tables)
def test_what_is_told_to_fit_can_be_inserted_for_any_table(connection: Connection, kinds: list[str]) -> None:
    check_fits(connection, kinds)


@pytest.mark.parametrize(
    ("kind", "fit"),
    [("text", 337), ("character varying(18)", 337), ("numeric(18,2)", 619), ("timestamp with time zone", 1001)],
)
def test_one_type_alone_has_as_many_columns_as_are_told_and_hardly_more(
    connection: Connection, kind: str, fit: int
) -> None:
    assert width([kind] * fit) <= ROW_BYTES < width([kind] * (fit + 1))
    assert not refused(connection, [kind] * fit, "stays")
    assert refused(connection, [kind] * (fit + 17), "stays")


def test_a_column_that_was_dropped_takes_a_bit() -> None:
    aspects = {f"column c{number}": "text" for number in range(100)}
    assert row_bytes(aspects, 1600) == row_bytes(aspects) + (1600 - 100) // 8 // 8 * 8
    assert row_bytes({"column a": "integer NOT NULL"}) == 32


def real_objects(folder: Path) -> Mapping[str, Object]:
    """Return the objects of all real orgs, the same one of several once each."""
    described = [json.loads(path.read_text("utf-8-sig")) for path in folder.glob("fixtures/*/*.json")]
    with tarfile.open(folder / "mid-org.tar.xz") as archive:
        files = (archive.extractfile(item) for item in archive if item.name.endswith(".json"))
        described += [json.load(file) for file in files if file is not None]
    found = {}
    for number, item in enumerate(described):
        if isinstance(item, dict) and isinstance(item.get("fields"), list) and all("type" in f for f in item["fields"]):
            taken = project(item, item["name"])
            if taken is not None:
                found[f"X{number}_{item['name']}"] = taken
    return found


def test_the_widest_objects_of_real_orgs_fit_as_is_told(connection: Connection, real_describes: Path) -> None:
    metadata = MetaData()
    add_provider_tables(metadata, ObjectMeta(objects=dict(real_objects(real_describes))), "s")
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    spelled = {"VARCHAR": "character varying", "DOUBLE PRECISION": "double precision"}
    kinds = []
    for table in sorted(metadata.tables.values(), key=lambda table: -len(table.columns))[:4]:
        names = [str(column.type.compile(dialect=dialect)) for column in table.columns]
        for old, new in spelled.items():
            names = [name.replace(old, new) for name in names]
        names = [name.lower().replace(", ", ",") for name in names]
        kinds.append(names)
    for names in kinds:
        if width(names) <= ROW_BYTES:
            check_fits(connection, names)
        else:
            assert refused(connection, names, "stays")
