"""A column's definition in facts comes apart into what SQL takes, whatever its default says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.columns import column_definition
from monarch_dagster.schema.facts import ColumnParts, column_parts, parse_column, read_facts
from monarch_dagster_tests.schema.support import facts_of

# All that begins or ends a part, and what it can hide behind.
PIECES = st.sampled_from(
    [
        *(" NOT NULL", " NOT VALID", " DEFAULT ", " GENERATED ALWAYS AS (", ") STORED", " COLLATE ", " AS IDENTITY"),
        *("'", '"', "(", ")", "::text", "\\", "\n", "x", " ", "%", "$$", "E'"),
    ]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
NAMES = TEXTS.filter(lambda text: text.strip("x") != "").map(lambda text: f's."{text.replace(chr(34), chr(34) * 2)}"')
TYPES = st.sampled_from(["text", "integer", "numeric(18,2)", "timestamp(3) with time zone", '"char"', "text[]"]) | NAMES


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'::text"


VALUES = st.one_of(
    st.just(("", "", None)),
    st.tuples(st.just(""), st.just(""), TEXTS.map(literal)),
    st.tuples(st.just(""), st.sampled_from(["s", "v"]), TEXTS.map(lambda text: f"(a || {literal(text)})")),
    st.tuples(st.sampled_from(["a", "d"]), st.just(""), st.none()),
)


@given(TYPES, st.sampled_from(["", "yes", "unchecked"]), VALUES, st.none() | st.just('"C"') | NAMES, st.booleans())
def test_a_definition_comes_apart_into_what_it_was_made_of(
    kind: str, null: str, value: tuple[str, str, str | None], collation: str | None, counting: bool
) -> None:
    not_null, unchecked, count = bool(null), null == "unchecked", "(start 5 cycle)" if counting else None
    identity, generated, default = value
    definition = column_definition(kind, not_null, unchecked, identity, generated, default, collation, count)
    parts = parse_column(definition)
    assert (parts.type, parts.collation) == (kind, collation or "")
    assert (parts.not_null, parts.validated) == (not_null, not (not_null and unchecked))
    assert parts.default == (default or "" if not generated else "")
    assert parts.generated == (f"({default}) {'STORED' if generated == 's' else 'VIRTUAL'}" if generated else "")
    assert bool(parts.identity) == bool(identity)
    assert parts.identity.endswith("(start 5 cycle)" if identity and count else "IDENTITY" if identity else "")
    three = column_parts(definition)
    assert "".join(three) == definition
    assert three[0] == (f"{kind} COLLATE {collation}" if collation else kind)
    assert three[2].startswith(" NOT NULL") == not_null


def test_a_default_that_postgresql_prints_comes_out_as_it_was_printed(shadows: ShadowServer) -> None:
    with shadows.clone(None) as url, connect(url) as connection:
        connection.exec_driver_sql("CREATE SCHEMA s")
        connection.commit()

        @settings(max_examples=60, deadline=None)
        @given(st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=8))
        def each(defaults: list[tuple[str, bool]]) -> None:
            lines = [
                f'c{place} text COLLATE "C" DEFAULT {literal(text)}{" NOT NULL" if null else ""}'.replace("%", "%%")
                for place, (text, null) in enumerate(defaults)
            ]
            connection.exec_driver_sql(f"CREATE TABLE s.t ({', '.join(lines)})", ())
            table = read_facts(connection, ["s"]).relations["table s.t"]
            connection.rollback()
            for place, (text, null) in enumerate(defaults):
                wanted = ColumnParts("text", '"C"', literal(text), not_null=null)
                assert parse_column(table[f"column c{place}"]) == wanted

        each()


@pytest.mark.parametrize(
    ("declared", "parts"),
    [
        ("c int", ColumnParts("integer")),
        ("c int DEFAULT (1 IS NOT NULL)::int", ColumnParts("integer", default="((1 IS NOT NULL))::integer")),
        ("c bool DEFAULT (1 IS NOT NULL) NOT NULL", ColumnParts("boolean", default="(1 IS NOT NULL)", not_null=True)),
        ("c text DEFAULT CURRENT_USER", ColumnParts("text", default="CURRENT_USER")),
        ("c text DEFAULT ('x' COLLATE \"C\")", ColumnParts("text", default="('x'::text COLLATE \"C\")")),
        ("c interval day to second (3) NOT NULL", ColumnParts("interval day to second(3)", not_null=True)),
        ("c s.\"a DEFAULT b\" DEFAULT 'x'", ColumnParts('s."a DEFAULT b"', default="'x'::s.\"a DEFAULT b\"")),
        ('c text COLLATE s."a NOT NULL"', ColumnParts("text", 's."a NOT NULL"')),
        (
            "c text GENERATED ALWAYS AS (a || ') STORED NOT NULL') STORED NOT NULL",
            ColumnParts("text", generated="((a || ') STORED NOT NULL'::text)) STORED", not_null=True),
        ),
        (
            "c int GENERATED ALWAYS AS IDENTITY",
            ColumnParts("integer", identity="GENERATED ALWAYS AS IDENTITY", not_null=True),
        ),
        (
            "c int GENERATED BY DEFAULT AS IDENTITY (START 5 INCREMENT 2 CYCLE)",
            ColumnParts(
                "integer",
                identity="GENERATED BY DEFAULT AS IDENTITY (start 5 increment 2 min 1 max 2147483647 cache 1 cycle)",
                not_null=True,
            ),
        ),
    ],
)
def test_what_postgresql_prints_of_a_column_comes_apart(
    shadows: ShadowServer, declared: str, parts: ColumnParts
) -> None:
    types = """CREATE TYPE s."a DEFAULT b" AS ENUM ('x'); CREATE COLLATION s."a NOT NULL" (locale = 'C');"""
    (facts,) = facts_of(shadows, f"{types} ALTER TABLE s.t ADD {declared}")
    assert parse_column(facts.relations["table s.t"]["column c"]) == parts


def test_the_parts_of_a_column_make_the_column_again(shadows: ShadowServer) -> None:
    declared = 'c int GENERATED BY DEFAULT AS IDENTITY (START 5 INCREMENT 2 MINVALUE -3 CYCLE), ADD d text COLLATE "C"'
    (before,) = facts_of(shadows, f"ALTER TABLE s.t ADD {declared} GENERATED ALWAYS AS (a || '%') STORED")
    parts = {name: parse_column(before.relations["table s.t"][f"column {name}"]) for name in "cd"}
    c, d = parts["c"], parts["d"]
    # Facts say min and max for short.
    counted = c.identity.replace(" min ", " minvalue ").replace(" max ", " maxvalue ")
    (after,) = facts_of(
        shadows,
        f"ALTER TABLE s.t ADD c {c.type} {counted}, ADD d {d.type} COLLATE {d.collation} "
        f"GENERATED ALWAYS AS {d.generated}",
    )
    assert after == before


def test_a_not_null_that_was_not_validated_says_so(shadows: ShadowServer) -> None:
    (facts,) = facts_of(shadows, "ALTER TABLE s.t ADD CONSTRAINT n NOT NULL a NOT VALID")
    definition = facts.relations["table s.t"]["column a"]
    assert definition == "text NOT NULL NOT VALID"
    assert parse_column(definition) == ColumnParts("text", not_null=True, validated=False)
    assert column_parts(definition) == ("text", "", " NOT NULL NOT VALID")


@pytest.mark.parametrize("text", [" DEFAULT", "text NOT VALID x NOT NULL y\x00"])
def test_a_text_that_begins_no_part_is_all_type(text: str) -> None:
    assert parse_column(text).type == text
