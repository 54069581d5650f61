"""What facts say of views, of states that are not the usual ones, and of what no model declares."""

import pytest
from sqlalchemy import exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect, run_script, snapshot
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.facts import Facts, differences, read_facts
from monarch_dagster_tests.schema.support import BASE, facts_of

VIEWS = """
CREATE SCHEMA other; CREATE TABLE other.o (x int); CREATE TYPE s.mood AS ENUM ('x'); CREATE SEQUENCE s.q;
CREATE VIEW s.v AS SELECT t.id, t.a FROM s.t WHERE t.b > 0;
CREATE VIEW s.w AS SELECT v.id FROM s.v JOIN other.o ON o.x = v.id;
CREATE MATERIALIZED VIEW s.m AS SELECT count(*) AS n FROM s.t;
CREATE VIEW s.constant AS SELECT 1 AS x;
CREATE VIEW s.typed AS SELECT 'x'::s.mood AS y, ARRAY['x']::s.mood[] AS z, m.n FROM s.m;
CREATE VIEW s.counted AS SELECT last_value FROM s.q;
"""


def test_of_a_view_the_columns_relations_and_types_that_it_uses_are_known(any_server: ShadowServer) -> None:
    (facts,) = facts_of(any_server, VIEWS)
    table = "table s.t"
    assert facts.dependencies == {
        "view s.v": {(table, "id"), (table, "a"), (table, "b")},
        "view s.w": {("view s.v", ""), ("table other.o", "x")},
        "materialized view s.m": {(table, "")},
        "view s.constant": frozenset(),
        "view s.typed": {("materialized view s.m", ""), ("enum s.mood", "")},
        "view s.counted": {("sequence s.q", "")},
    }
    assert facts.only(["view s.v"]).dependencies.keys() == {"view s.v"}
    assert facts.declarable().dependencies == facts.dependencies


def test_what_a_view_uses_is_no_fact_of_its_own(shadows: ShadowServer) -> None:
    (facts,) = facts_of(shadows, VIEWS)
    bare = Facts(facts.relations)
    assert bare == facts
    assert bare.hash == facts.hash
    assert not list(differences(bare, facts))


@pytest.mark.parametrize(
    ("script", "aspect", "value"),
    [
        ("ALTER VIEW s.v SET (security_barrier)", "options", "security_barrier=true"),
        ("COMMENT ON VIEW s.v IS 'x'", "comment", "x"),
        ("COMMENT ON COLUMN s.v.x IS 'x'", "comment on column x", "x"),
        ("ALTER VIEW s.v ALTER x SET DEFAULT 7", "default of column x", "7"),
        ("CREATE RULE r AS ON INSERT TO s.v DO INSTEAD NOTHING", "rule r", None),
        ("CREATE UNIQUE INDEX i ON s.m (x)", "index i", "CREATE UNIQUE INDEX i ON s.m USING btree (x)"),
        ("CREATE INDEX i ON s.m (x); COMMENT ON INDEX s.i IS 'x'", "comment on index i", "x"),
        ("COMMENT ON COLUMN s.m.x IS 'x'", "comment on column x", "x"),
    ],
)
def test_what_no_model_says_of_a_view_is_a_fact_and_carried(
    any_server: ShadowServer, script: str, aspect: str, value: str | None
) -> None:
    views = "CREATE VIEW s.v AS SELECT 1 AS x; CREATE MATERIALIZED VIEW s.m AS SELECT 1 AS x;"
    before, after = facts_of(any_server, views, views + script)
    relation = "materialized view s.m" if "s.m" in script else "view s.v"
    assert after.relations[relation].get(aspect) == (value or after.relations[relation][aspect])
    assert after != before
    assert after.declarable() == before.declarable()
    assert f"{relation}: {aspect}" in after.carried()


def test_another_select_is_a_difference_that_models_can_declare(shadows: ShadowServer) -> None:
    one, two = facts_of(shadows, "CREATE VIEW s.v AS SELECT 1 AS x", "CREATE VIEW s.v AS SELECT 2 AS x")
    (found,) = differences(one.declarable(), two.declarable())
    assert (found.relation, found.aspect) == ("view s.v", "definition")


TRIGGER = (
    "CREATE TRIGGER x BEFORE UPDATE ON s.t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();"
    "CREATE RULE r AS ON DELETE TO s.t DO INSTEAD NOTHING;"
)


@pytest.mark.parametrize(
    ("script", "aspect", "end"),
    [
        ("", "trigger x", "()"),
        ("ALTER TABLE s.t DISABLE TRIGGER x", "trigger x", " DISABLED"),
        ("ALTER TABLE s.t ENABLE REPLICA TRIGGER x", "trigger x", " ENABLED REPLICA"),
        ("ALTER TABLE s.t ENABLE ALWAYS TRIGGER x", "trigger x", " ENABLED ALWAYS"),
        ("ALTER TABLE s.t DISABLE RULE r", "rule r", " DISABLED"),
        ("ALTER TABLE s.t ENABLE ROW LEVEL SECURITY", "row security", "enabled"),
        ("ALTER TABLE s.t FORCE ROW LEVEL SECURITY", "row security", "FORCE"),
        (
            "ALTER TABLE s.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            "row security",
            "enabled, FORCE",
        ),
    ],
)
def test_a_state_that_is_not_the_usual_one_shows(any_server: ShadowServer, script: str, aspect: str, end: str) -> None:
    (facts,) = facts_of(any_server, TRIGGER + script)
    assert facts.relations["table s.t"][aspect].endswith(end)


def test_what_belongs_to_an_extension_is_the_extensions(any_server: ShadowServer) -> None:
    made = (
        "CREATE TABLE s.x (id int PRIMARY KEY); CREATE VIEW s.y AS SELECT id FROM s.x; CREATE TYPE s.z AS ENUM ('a');"
    )
    made += "CREATE SEQUENCE s.q; CREATE COLLATION s.c (locale = 'C'); CREATE DOMAIN s.d AS int;"
    members = ("TABLE s.x", "VIEW s.y", "TYPE s.z", "SEQUENCE s.q", "COLLATION s.c", "DOMAIN s.d")
    theirs = "".join(f"ALTER EXTENSION plpgsql ADD {member};" for member in members)
    before, without, after = facts_of(any_server, "", made, made + theirs)
    assert without != before
    assert after == before
    assert after.dependencies == {}


def test_an_extension_in_a_managed_schema_is_named(any_server: ShadowServer) -> None:
    # The one extension of the embedded server has its schema given; a catalog's row is as good.
    move = """INSERT INTO pg_depend SELECT 'pg_extension'::regclass, oid, 0, 'pg_namespace'::regclass,
              's'::regnamespace, 0, 'n' FROM pg_extension"""
    (facts,) = facts_of(any_server, move)
    assert facts.carried() == ("extension plpgsql",)


def test_default_privileges_are_grants_and_no_facts(any_server: ShadowServer) -> None:
    before, after = facts_of(any_server, "", "ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO PUBLIC")
    assert before == after


def test_a_partition_is_carried_and_what_it_is_a_part_of_is_declared(any_server: ShadowServer) -> None:
    whole = "CREATE TABLE s.p (a int) PARTITION BY RANGE (a);"
    before, after = facts_of(
        any_server, whole, f"{whole} CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (1) TO (2)"
    )
    assert after.relations["table s.p1"]["partition"] == "FOR VALUES FROM (1) TO (2)"
    assert after.carried() == ("table s.p1",)
    assert after.declarable() == before.declarable()


def test_carried_things_are_listed_sorted(shadows: ShadowServer) -> None:
    (facts,) = facts_of(shadows, TRIGGER + "CREATE DOMAIN s.d AS int; COMMENT ON SCHEMA s IS 'x'")
    assert facts.carried() == ("domain s.d", "schema s: comment", "table s.t: rule r", "table s.t: trigger x")


def test_columns_come_in_the_order_of_their_table_and_hashes_ignore_it(any_server: ShadowServer) -> None:
    one, two = facts_of(
        any_server,
        "CREATE TABLE s.x (z int, a int, m int); ALTER TABLE s.x DROP a, ADD a int, ADD b int",
        "CREATE TABLE s.x (a int, b int, m int, z int)",
    )
    names = [aspect for aspect in one.relations["table s.x"] if aspect.startswith("column ")]
    assert names == ["column z", "column m", "column a", "column b"]
    assert one == two
    assert one.hashes == two.hashes
    assert one.hash == two.hash


def test_each_relation_has_a_hash_that_follows_its_own_facts(shadows: ShadowServer) -> None:
    one, two = facts_of(shadows, "CREATE TABLE s.x (a int)", "CREATE TABLE s.x (a bigint)")
    changed = {name for name in one.hashes if one.hashes[name] != two.hashes[name]}
    assert changed == {"table s.x"}
    assert one.hashes.keys() == one.relations.keys()
    assert all(len(value) == 64 for value in one.hashes.values())


def test_facts_do_not_follow_how_a_session_likes_its_values_printed(any_server: ShadowServer) -> None:
    script = """CREATE TABLE s.x (a timestamptz DEFAULT '2024-05-06 07:08+00', b date DEFAULT '2024-05-06',
        c interval DEFAULT '1 day', d float8 DEFAULT 0.1, e text DEFAULT 'a\\b', f bytea DEFAULT '\\x41')"""
    likings = """SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET intervalstyle = 'iso_8601';
        SET extra_float_digits = -5; SET quote_all_identifiers = on; SET bytea_output = 'escape';"""
    (before,) = facts_of(any_server, script)
    with any_server.clone(None) as url, connect(url) as connection:
        run_script(connection, BASE + script + ";" + likings + "SET standard_conforming_strings = off")
        assert read_facts(connection, ["s"]) == before
        assert connection.exec_driver_sql("SHOW timezone").scalar_one() == "Asia/Tokyo"
        assert connection.exec_driver_sql("SHOW standard_conforming_strings").scalar_one() == "off"


def test_a_snapshot_sees_one_state_and_changes_nothing(shadows: ShadowServer) -> None:
    with shadows.clone(None) as url, snapshot(url) as connection, connect(url, autocommit=True) as other:
        before = read_facts(connection, ["s"])
        run_script(other, BASE)
        assert read_facts(connection, ["s"]) == before
        with pytest.raises(exc.DBAPIError, match="read-only"):
            connection.exec_driver_sql("CREATE TABLE public.t ()")


def test_a_snapshot_of_a_server_that_is_not_there_is_told(shadows: ShadowServer) -> None:
    with pytest.raises(MonarchError, match="could not be opened"), snapshot(shadows.url.set(database="no_such")):
        pass
