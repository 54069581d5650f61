"""Random schemas for hypothesis: each is valid by itself, and two of them share names often. No transitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

from monarch_dagster_tests.migrations.corpus.declare import enum, table, view

SCHEMAS: Final = ("landing", "staging")
LABELS: Final = ("x", "y", "it's 50%", "z")
MOOD: Final = "mood"
# Each type with defaults that it takes, as they stand in a column.
KINDS: Final = {
    "Integer": ("text('1')", "'2'"),
    "BigInteger": ("text('3')",),
    "SmallInteger": (),
    "Numeric(10, 2)": ("text('1.5')",),
    "Numeric(12, 4)": (),
    "Double": ("text('0')",),
    "String(5)": ("'a'", "'%:'"),
    "String(20)": ("'a'",),
    "Text": ('"it\'s 50% :x"', "text('CURRENT_USER')"),
    "Text(collation='C')": ("'a'",),
    "Date": ("text('CURRENT_DATE')",),
    "DateTime": ("func.now()",),
    "DateTime(timezone=True)": ("func.now()",),
    "Boolean": ("true()", "false()"),
    "Uuid": ("text('gen_random_uuid()')",),
    "JSONB": ("'{}'",),
    "ARRAY(Integer)": ("'{}'",),
    "ARRAY(Text)": (),
    "INET": (),
    MOOD: (),
}
NUMBERS: Final = frozenset({"Integer", "BigInteger"})
UNORDERED: Final = frozenset({"JSONB"})
KEYS: Final = (
    "BigInteger, Identity(), primary_key=True",
    "BigInteger, Identity(always=True), primary_key=True",
    "BigInteger, Identity(start=10), primary_key=True",
    "BigInteger, primary_key=True, autoincrement=False",
    "BigInteger, primary_key=True",
)
COLUMNS: Final = ("c0", "c1", "c2", "c3", "Order %")
COMMENTS: Final = (None, "one", "it's 100% :x \\")


@dataclass(frozen=True)
class _Column:
    """A column's type and what stands behind it."""

    kind: str
    rest: str


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """Draw the models of a schema: up to four tables in two PostgreSQL schemas, one enum, views of the tables."""
    places = draw(
        st.lists(st.tuples(st.sampled_from(SCHEMAS), st.sampled_from("abc")), unique=True, min_size=1, max_size=4)
    )
    labels = draw(st.lists(st.sampled_from(LABELS), unique=True, min_size=1))
    # The enum lies where a table is always, so that it needs no schema of its own.
    mood = enum(*labels, name=MOOD, schema=places[0][0])
    return "".join(draw(_table(schema, name, places, mood)) for schema, name in places)


@st.composite
def _table(draw: st.DrawFn, schema: str, name: str, places: list[tuple[str, str]], mood: str) -> str:
    names = draw(st.lists(st.sampled_from(COLUMNS), unique=True, max_size=4))
    columns = {column: draw(_column(mood)) for column in names}
    items = [f'"{column}" {drawn.rest}' for column, drawn in columns.items()]
    if draw(st.booleans()):
        items.append(draw(_reference(places)))
    for column, drawn in columns.items():
        items += draw(_built_on(name, column, drawn.kind))
    numbers = [column for column, drawn in columns.items() if drawn.kind in NUMBERS]
    if numbers and draw(st.booleans()):
        factor = draw(st.integers(2, 3))
        items.append(f"g BigInteger, Computed('\"{numbers[0]}\" * {factor}', persisted=True)")
    comment = draw(st.sampled_from(COMMENTS))
    key = f"id: Mapped[int] = mapped_column({draw(st.sampled_from(KEYS))})"
    options = {"comment": comment} if comment else {}
    body = table(name, *items, schema=schema, key=key, **options)
    return body + draw(_view(schema, name, list(columns)))


@st.composite
def _column(draw: st.DrawFn, mood: str) -> _Column:
    kind = draw(st.sampled_from(tuple(KINDS)))
    words = [mood if kind == MOOD else kind]
    if KINDS[kind] and draw(st.booleans()):
        words.append(f"server_default={draw(st.sampled_from(KINDS[kind]))}")
    if draw(st.booleans()):
        words.append("nullable=False")
    if comment := draw(st.sampled_from(COMMENTS)):
        words.append(f"comment={comment!r}")
    return _Column(kind, ", ".join(words))


@st.composite
def _reference(draw: st.DrawFn, places: list[tuple[str, str]]) -> str:
    schema, name = draw(st.sampled_from(places))
    more = draw(st.sampled_from(("", ", ondelete='CASCADE'", ", ondelete='SET NULL', deferrable=True")))
    index = draw(st.sampled_from(("", ", index=True")))
    return f"ref BigInteger, ForeignKey('{schema}.{name}.id'{more}){index}"


@st.composite
def _built_on(draw: st.DrawFn, table_name: str, column: str, kind: str) -> list[str]:
    """Draw what is built on one column, at most one of each kind, so that names stay apart."""
    short = f"{table_name}_{column[:2]}"
    checks = [f"CheckConstraint('\"{column}\" IS NOT NULL OR id > {least}', name='{short}')" for least in (0, 1)]
    uniques, indexes = [], [f"Index('on_{short}', 'id', postgresql_where=text('\"{column}\" IS NULL'))"]
    if kind not in UNORDERED:
        uniques = [f"UniqueConstraint({column!r}{more}, name='by_{short}')" for more in ("", ", 'id'")]
        indexes += [
            f"Index('on_{short}', {column!r})",
            f"Index('on_{short}', {column!r}, 'id', unique=True)",
            f"Index('on_{short}', {column!r}, postgresql_where=text('id > 5'))",
            f"Index('on_{short}', desc(column({column!r})), postgresql_include=['id'])",
        ]
    if kind.startswith("ARRAY"):
        indexes.append(f"Index('on_{short}', {column!r}, postgresql_using='gin')")
    drawn = [draw(st.sampled_from(["", "", *choices])) for choices in (checks, uniques, indexes)]
    return [item for item in drawn if item]


@st.composite
def _view(draw: st.DrawFn, schema: str, name: str, columns: list[str]) -> str:
    if not draw(st.booleans()):
        return ""
    shown = draw(st.lists(st.sampled_from(["id", *columns]), unique=True, min_size=1, max_size=3))
    selected = ", ".join(f'"{column}"' for column in shown)
    where = draw(st.sampled_from(("", " WHERE id > 1", " WHERE id % 2 = 0")))
    query = f"SELECT {selected} FROM {schema}.{name}{where}"
    return view(f"v_{name}", query, schema=schema, materialized=draw(st.booleans()), **dict.fromkeys(shown, "Text"))
