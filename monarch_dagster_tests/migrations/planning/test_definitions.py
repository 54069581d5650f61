"""What PostgreSQL prints of constraints and indexes is read back right, whatever the names are."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monarch_dagster.migrations.planning.definitions import (
    Reference,
    column_path,
    concurrent_index,
    index_body,
    index_of_unique,
    key_columns,
    mentions,
    proven_column,
    reference,
    unique_columns,
)
from monarch_dagster.migrations.planning.operation import qualified
from monarch_dagster.postgres.quoting import identifier
from monarch_dagster_tests.migrations.planning.support import Workbench

NAMES = st.one_of(
    st.text(alphabet="aB1_ \"'.,();:%$\\é", min_size=1, max_size=8),
    st.sampled_from(
        [
            "order",
            "position",
            "NOT VALID",
            ") REFERENCES x.y (z",
            'a" IS NOT NULL',
            "USING btree (a)",
            "public",
            "two\nlines",
        ]
    ),
)
DISTINCT = st.lists(NAMES, min_size=5, max_size=5, unique=True)


def test_names_are_quoted_as_postgresql_quotes_them(bench: Workbench) -> None:
    words = [word for (word,) in bench.connection.exec_driver_sql("SELECT word FROM pg_get_keywords()")]
    names = [*words, "", "a", "_", "A", "a1", "1a", "a_$", "a$", "ä", "a b", 'a"b', "a\n", "Position"]
    printed = bench.connection.exec_driver_sql("SELECT quote_ident(n) FROM unnest(%s::text[]) n", (names,)).scalars()
    assert [identifier(name) for name in names] == list(printed)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=DISTINCT)
def test_definitions_with_any_names_are_read_back(bench: Workbench, names: list[str]) -> None:
    one, two, table, other, third = names
    a, b, c, t, o = (identifier(name) for name in (one, two, third, table, other))
    with bench.trying():
        facts = bench.facts(
            f"CREATE TABLE s.{o} ({a} int, {b} int, CONSTRAINT {a} PRIMARY KEY ({b}, {a}));"
            f"CREATE TABLE s.{t} ({a} int, {b} int, {c} serial, CONSTRAINT {c} UNIQUE ({b}, {a}) INCLUDE ({c}),"
            f"  CONSTRAINT {b} FOREIGN KEY ({a}, {b}) REFERENCES s.{o} ({b}, {a}) NOT VALID,"
            f"  CONSTRAINT n CHECK ({a} IS NOT NULL) NOT VALID, CONSTRAINT m CHECK ({a} > 0));"
            f"CREATE UNIQUE INDEX i ON s.{t} ({b}, {c}); CREATE INDEX j ON s.{t} ({b}, {c})"
        )
        here, there = facts.relations[f"table s.{table}"], facts.relations[f"table s.{other}"]
        assert reference(here[f"constraint {two}"]) == Reference((one, two), f"s.{other}", (two, one))
        assert unique_columns(here[f"constraint {third}"]) == (two, one)
        assert unique_columns(there[f"constraint {one}"]) == key_columns(there[f"constraint {one}"]) == (two, one)
        assert key_columns(here[f"constraint {third}"]) == ()
        assert unique_columns(here["index i"]) == (two, third)
        assert unique_columns(here["index j"]) is None
        assert proven_column(here["constraint n"]) == one
        assert proven_column(here["constraint m"]) == ""
        assert index_body(here["index i"]) != index_body(here["index j"])
        assert index_body(here["index j"]) == index_body(here["index j"].replace("INDEX j ON", 'INDEX "k ON" ON'))
        assert all(mentions(here[f"constraint {two}"], identifier(name)) for name in (one, two))
        (owned,) = (
            aspects["definition"].partition(" owned by ")[2]
            for name, aspects in facts.relations.items()
            if name.startswith("sequence ")
        )
        assert column_path(owned) == (f"s.{table}", third)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=DISTINCT, how=st.sampled_from(["", "NULLS NOT DISTINCT"]), included=st.booleans())
def test_the_index_of_a_unique_constraint_is_known_before_it_is_built(
    bench: Workbench, names: list[str], how: str, included: bool
) -> None:
    table, key, *columns = names
    a, b, c = (identifier(name) for name in columns)
    include = f" INCLUDE ({c})" if included else ""
    with bench.trying():
        bench.run(f"CREATE SCHEMA s; CREATE TABLE s.{identifier(table)} ({a} int, {b} text, {c} int)")
        unique = f"UNIQUE {how} ({b}, {a}){include}"
        bench.run(f"ALTER TABLE s.{identifier(table)} ADD CONSTRAINT {identifier(key)} {unique}")
        query = "SELECT pg_get_constraintdef(oid), pg_get_indexdef(conindid) FROM pg_constraint WHERE conname = %s"
        definition, index = bench.connection.exec_driver_sql(query, (key,)).one()
        assert index_of_unique(f"s.{identifier(table)}", identifier(key), definition) == index


@pytest.mark.parametrize(
    "definition",
    ["PRIMARY KEY (a)", "UNIQUE (a) DEFERRABLE", "UNIQUE (a) DEFERRABLE INITIALLY DEFERRED", "CHECK ((a > 0))"],
)
def test_what_carries_no_index_of_its_own_or_one_that_checks_later_is_built_as_a_whole(definition: str) -> None:
    assert index_of_unique("s.t", "u", definition) is None


def test_an_index_with_an_expression_or_a_predicate_is_no_key(bench: Workbench) -> None:
    indexes = bench.facts(
        "CREATE TABLE s.t (a int, b text); CREATE UNIQUE INDEX i ON s.t (lower(b)); "
        "CREATE UNIQUE INDEX j ON s.t (a) WHERE b = 'USING btree (a)'; CREATE UNIQUE INDEX k ON s.t (a DESC)"
    ).relations["table s.t"]
    assert [unique_columns(indexes[f"index {name}"]) for name in "ijk"] == [None, None, None]


def test_a_name_is_not_found_in_a_longer_one() -> None:
    assert mentions("CHECK ((a > 0))", "a")
    assert mentions('CHECK (("a b" > 0))', '"a b"')
    for longer in ("aa", "a_b", '"a b"', "x$a"):
        assert not mentions(f"CHECK (({longer} > 0))", "a")


def test_only_the_words_of_a_build_that_blocks_are_changed() -> None:
    index = "CREATE UNIQUE INDEX i ON s.t USING btree (a) WHERE (b = 'CREATE INDEX x'::text)"
    assert concurrent_index(index) == index.replace("INDEX i", "INDEX CONCURRENTLY IF NOT EXISTS i")
    assert concurrent_index("CREATE INDEX i ON s.t (a)").startswith("CREATE INDEX CONCURRENTLY IF NOT EXISTS i")


def test_a_name_is_quoted_where_it_needs_to_be() -> None:
    assert qualified("table s.order") == 's."order"'
    assert qualified('materialized view s.a.b "c') == 's."a.b ""c"'
