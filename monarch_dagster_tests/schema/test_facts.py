"""Facts: each kind of thing that PostgreSQL keeps appears, differs when it differs, and reads alike on 16 and 18."""

import pytest

from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.facts import Difference, differences, read_facts
from monarch_dagster_tests.schema.support import facts_of

# What is added → the relation and the aspect in which it shows.
ADDED = [
    ("CREATE SCHEMA other", "schema other", "the schema"),
    ("COMMENT ON SCHEMA s IS 'x'", "schema s", "comment"),
    ("CREATE TABLE s.u ()", "table s.u", "the table"),
    ("COMMENT ON TABLE s.t IS 'x'", "table s.t", "comment"),
    ("ALTER TABLE s.t SET UNLOGGED", "table s.t", "persistence"),
    ("ALTER TABLE s.t SET (fillfactor = 70)", "table s.t", "options"),
    ("ALTER TABLE s.t ADD c int", "table s.t", "column c"),
    ("ALTER TABLE s.t ALTER a TYPE varchar(3)", "table s.t", "column a"),
    ('ALTER TABLE s.t ALTER a TYPE text COLLATE "C"', "table s.t", "column a"),
    ("ALTER TABLE s.t ALTER a SET NOT NULL", "table s.t", "column a"),
    ("ALTER TABLE s.t ALTER a SET DEFAULT 'x'", "table s.t", "column a"),
    ("COMMENT ON COLUMN s.t.a IS 'x'", "table s.t", "comment on column a"),
    ("ALTER TABLE s.t ADD c int GENERATED ALWAYS AS (b * 2) STORED", "table s.t", "column c"),
    ("ALTER TABLE s.t ADD c int GENERATED ALWAYS AS IDENTITY (START 7)", "table s.t", "column c"),
    ("ALTER TABLE s.t DROP CONSTRAINT pk, ADD CONSTRAINT pk PRIMARY KEY (id, b)", "table s.t", "constraint pk"),
    ("ALTER TABLE s.t ADD CONSTRAINT c CHECK (b > 0)", "table s.t", "constraint c"),
    ("ALTER TABLE s.t ADD CONSTRAINT c UNIQUE NULLS NOT DISTINCT (b)", "table s.t", "constraint c"),
    ("ALTER TABLE s.t ADD CONSTRAINT c FOREIGN KEY (b) REFERENCES s.t ON DELETE CASCADE", "table s.t", "constraint c"),
    ("ALTER TABLE s.t ADD CONSTRAINT c EXCLUDE (b WITH =)", "table s.t", "constraint c"),
    ("CREATE INDEX i ON s.t (lower(a) DESC) INCLUDE (b) WHERE b > 0", "table s.t", "index i"),
    (
        "CREATE TRIGGER x BEFORE UPDATE ON s.t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "table s.t",
        "trigger x",
    ),
    ("CREATE POLICY p ON s.t USING (b > 0)", "table s.t", "policy p"),
    ("ALTER TABLE s.t ENABLE ROW LEVEL SECURITY", "table s.t", "row security"),
    ("CREATE RULE r AS ON DELETE TO s.t DO INSTEAD NOTHING", "table s.t", "rule r"),
    ("CREATE STATISTICS s.st ON a, b FROM s.t", "table s.t", "statistics st"),
    ("CREATE TABLE s.p (a int) PARTITION BY RANGE (a)", "table s.p", "the table"),
    ("CREATE TABLE s.c () INHERITS (s.t)", "table s.c", "the table"),
    ("CREATE VIEW s.v AS SELECT 1 AS x", "view s.v", "the view"),
    ("CREATE MATERIALIZED VIEW s.m AS SELECT 1 AS x", "materialized view s.m", "the materialized"),
    ("CREATE TYPE s.e AS ENUM ('x')", "enum s.e", "the enum"),
    ("CREATE TYPE s.r AS RANGE (subtype = int)", "range type s.r", "the range"),
    ("CREATE TYPE s.k AS (x int)", "composite type s.k", "the composite"),
    ("CREATE DOMAIN s.d AS int CHECK (VALUE > 0)", "domain s.d", "the domain"),
    ("CREATE SEQUENCE s.q", "sequence s.q", "the sequence"),
    ("CREATE FUNCTION s.f(x int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "function s.f(x integer)", "the function"),
    ("COMMENT ON CONSTRAINT pk ON s.t IS 'x'", "table s.t", "comment on constraint pk"),
    ("CREATE INDEX i ON s.t (b); COMMENT ON INDEX s.i IS 'x'", "table s.t", "comment on index i"),
    ("CREATE COLLATION s.c (locale = 'C')", "collation s.c", "the collation"),
    (
        "CREATE OPERATOR s.=== (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)",
        "operator s.===(integer,integer)",
        "the operator",
    ),
    ("CREATE OPERATOR FAMILY s.o USING btree", "operator family s.o USING btree", "the operator"),
    (
        "CREATE TEXT SEARCH CONFIGURATION s.t (COPY = pg_catalog.simple)",
        "text search configuration s.t",
        "the text",
    ),
    ("CREATE CONVERSION s.c FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8", "conversion s.c", "the conversion"),
]
CARRIED = {"trigger x", "policy p", "row security", "rule r", "statistics st", "comment on index i"}
CARRIED_KINDS = (
    *("range", "composite", "domain", "function"),
    *("collation", "operator", "text", "conversion"),
)
# Scripts that add something that models do declare with what they do not.
IN_PART = {"CREATE INDEX i ON s.t (b); COMMENT ON INDEX s.i IS 'x'"}
# One kind's definition, and another of the same name.
CHANGED = [
    ("CREATE VIEW s.x AS SELECT 1 AS x", "CREATE VIEW s.x AS SELECT 2 AS x", "definition"),
    ("CREATE TYPE s.x AS ENUM ('a', 'b')", "CREATE TYPE s.x AS ENUM ('b', 'a')", "definition"),
    ("CREATE DOMAIN s.x AS int", "CREATE DOMAIN s.x AS int NOT NULL", "definition"),
    ("CREATE TYPE s.x AS (x int)", "CREATE TYPE s.x AS (x bigint)", "definition"),
    ("CREATE SEQUENCE s.x", "CREATE SEQUENCE s.x INCREMENT 2", "definition"),
    (
        "CREATE FUNCTION s.x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION s.x() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "definition",
    ),
    (
        "CREATE TABLE s.x (a int) PARTITION BY RANGE (a)",
        "CREATE TABLE s.x (a int) PARTITION BY LIST (a)",
        "partitioned by",
    ),
    ("CREATE TABLE s.x (id int, a text, b int)", "CREATE TABLE s.x () INHERITS (s.t)", "inherits"),
    (
        "CREATE TABLE s.x (a int GENERATED ALWAYS AS IDENTITY)",
        "CREATE TABLE s.x (a int GENERATED BY DEFAULT AS IDENTITY)",
        "column a",
    ),
    (
        "CREATE TABLE s.x (a int GENERATED ALWAYS AS IDENTITY)",
        "CREATE TABLE s.x (a int GENERATED ALWAYS AS IDENTITY (CACHE 2))",
        "column a",
    ),
]


def test_every_kind_of_addition_is_one_difference(shadows: ShadowServer) -> None:
    before, *after = facts_of(shadows, "", *[script for script, _, _ in ADDED])
    for (script, relation, aspect), facts in zip(ADDED, after, strict=True):
        found = list(differences(before, facts))
        assert (relation, aspect) in {(item.relation, item.aspect) for item in found}, script
        others = {item.relation for item in found} - {relation}
        assert all(name.startswith("function s.r") for name in others), script  # a range type brings its functions
        assert facts.hash != before.hash


def test_what_no_model_can_declare_is_carried_and_the_rest_is_not(shadows: ShadowServer) -> None:
    before, *after = facts_of(shadows, "", *[script for script, _, _ in ADDED])
    for (script, relation, aspect), facts in zip(ADDED, after, strict=True):
        carried = aspect in CARRIED or aspect.removeprefix("the ") in CARRIED_KINDS or relation == "schema s"
        assert (facts.declarable() == before.declarable()) == (carried and script not in IN_PART), script
        named = relation if aspect.startswith("the ") else f"{relation}: {aspect}"
        assert (named in facts.carried()) == carried, script


def test_another_definition_of_the_same_name_is_a_difference_of_that_aspect(shadows: ShadowServer) -> None:
    found = facts_of(shadows, *[script for before, after, _ in CHANGED for script in (before, after)])
    for (before, after, aspect), pair in zip(CHANGED, zip(found[::2], found[1::2], strict=True), strict=True):
        assert aspect in {item.aspect for item in differences(*pair)}, (before, after)


@pytest.mark.parametrize("script", [script for script, _, _ in ADDED if "VIEW" not in script])
def test_what_models_declare_reads_alike_on_16_and_18(
    shadows: ShadowServer, shadows_16: ShadowServer, script: str
) -> None:
    assert facts_of(shadows, script) == facts_of(shadows_16, script)


def test_the_order_of_columns_owners_and_grants_are_no_facts(shadows: ShadowServer) -> None:
    one, two = facts_of(
        shadows,
        "CREATE TABLE s.x (a int, b int)",
        "CREATE TABLE s.x (b int, c int, a int); ALTER TABLE s.x DROP c; GRANT ALL ON s.x TO PUBLIC;"
        "ALTER TABLE s.x OWNER TO pg_monitor",
    )
    assert list(differences(one, two)) == []
    assert one.hash == two.hash


def test_a_list_of_words_reads_alike_after_its_own_definition_was_run(shadows: ShadowServer) -> None:
    (one,) = facts_of(shadows, "CREATE TABLE s.x (a varchar(9) CONSTRAINT c CHECK (a IN ('it''s', 'b]')))")
    definition = one.relations["table s.x"]["constraint c"]
    (two,) = facts_of(shadows, f"CREATE TABLE s.x (a varchar(9)); ALTER TABLE s.x ADD CONSTRAINT c {definition}")
    assert one == two


def test_reading_leaves_the_transactions_search_path_as_it_was(shadows: ShadowServer) -> None:
    with shadows.clone(None) as url, connect(url) as connection:
        connection.exec_driver_sql('SET search_path TO "a b", public')
        read_facts(connection, ["s"])
        assert connection.exec_driver_sql("SHOW search_path").scalar_one() == '"a b", public'


def test_a_difference_says_what_was_expected_and_found() -> None:
    assert str(Difference("table s.t", "column a", "text", "")) == "table s.t: column a is missing (expected: text)"
    assert str(Difference("table s.t", "column a", "", "text")) == "table s.t: column a is extra (found: text)"
    assert str(Difference("table s.t", "column a", "x", "y")) == "table s.t: column a is y, expected x"
