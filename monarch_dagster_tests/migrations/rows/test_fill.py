"""Generic rows are put into every table, whatever its columns, keys, checks and references ask for."""

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData

from monarch_dagster.migrations.rows import Filled, fill, take
from monarch_dagster.postgres.engines import run_script
from monarch_dagster.salesforce.object_meta import ObjectMeta
from monarch_dagster.schema.desired import Desired, Sources, build_desired, ddl
from monarch_dagster.schema.facts import read_facts, user_schemas
from monarch_dagster.schema.provider import add_provider_tables
from monarch_dagster_tests.support import account

# Of every type that a column can have and that takes input; of those with a modifier, also the narrowest.
TYPES = """
smallint; integer; bigint; numeric; numeric(5,2); numeric(3,3); numeric(2,-3); numeric(3,5); real; double precision
money; oid; boolean; text; varchar
varchar(1); char(1); char(3); bpchar; name; "char"; bytea; uuid; json; jsonb; jsonpath
date; time; time(0); timetz; timestamp; timestamp(3); timestamptz; interval; interval year; interval second(0)
interval day to hour; bit; bit(5); varbit; varbit(1); inet; cidr; macaddr; macaddr8; tsvector; tsquery
point; line; lseg; box; path; polygon; circle
int4range; int8range; numrange; daterange; tsrange; tstzrange
int4multirange; int8multirange; nummultirange; datemultirange; tsmultirange; tstzmultirange
pg_lsn; tid; xid; xid8; cid; pg_snapshot; txid_snapshot; aclitem; refcursor; oidvector; int2vector
regclass; regtype; regrole; regnamespace; regconfig; regdictionary; regproc; regprocedure; regoper; regoperator
regcollation; s.mood; s."Odd Name"; s.positive; s.short; s.pair; s.spanned
"""
MADE_TYPES = """
CREATE SCHEMA s;
CREATE TYPE s.mood AS ENUM ('it''s fine', 'sad');
CREATE TYPE s."Odd Name" AS ENUM ('x');
CREATE DOMAIN s.short AS varchar(2) NOT NULL;
CREATE DOMAIN s.positive AS integer CHECK (VALUE >= 100);
CREATE TYPE s.pair AS (a integer, b text);
CREATE TYPE s.spanned AS RANGE (subtype = inet);
"""


def filled(database: Connection, script: str, **hints: Any) -> Filled:
    """Run a script and fill all tables."""
    run_script(database, script)
    return fill(database, sorted(read_facts(database, user_schemas(database)).tables()), hints.get("wanted"))


def select(database: Connection, query: str) -> list[Any]:
    """Return the rows of a query."""
    return [tuple(row) for row in run_script(database, query)]


def every_type(form: str) -> str:
    """Return the list of columns that has one of each type, and one of its array, in the form of a column."""
    names = [name.strip() for line in TYPES.strip().splitlines() for name in line.split(";")]
    every = [*names, *(f"{name}[]" for name in names)]
    return ", ".join(form.format(name=f"c{number}", type=name) for number, name in enumerate(every))


def test_every_core_table_gets_a_full_and_a_bare_row(database: Connection, tmp_path: Path) -> None:
    sources = Sources(Path.cwd(), tmp_path, "monarch_dagster.models", "salesforce")
    result = filled(database, ";\n".join(ddl(build_desired(sources))))
    assert result.empty == {}
    assert set(result.rows.values()) == {2}
    assert "utilities.parameter" in result.rows


@pytest.mark.parametrize("required", ["", "NOT NULL"])
def test_a_column_of_every_type_gets_a_value(database: Connection, required: str) -> None:
    columns = every_type("{name} {type} " + required)
    result = filled(database, f"{MADE_TYPES} CREATE TABLE s.t ({columns})")
    assert (result.rows, result.empty) == ({"s.t": 2}, {})
    given = select(database, f"SELECT {every_type('count({name})')} FROM s.t")[0]
    # A domain may forbid nulls by itself.
    least = 2 if required else 1
    assert {number: count for number, count in enumerate(given) if count < least} == {}
    assert required or given.count(2) == 1


def test_a_type_without_known_values_is_left_null_and_a_table_that_requires_one_is_left_empty(
    database: Connection,
) -> None:
    # The embedded server is built without XML.
    result = filled(database, "CREATE SCHEMA s; CREATE TABLE s.a (x xml, y text); CREATE TABLE s.b (x xml NOT NULL)")
    assert result.rows == {"s.a": 2, "s.b": 0}
    assert select(database, "SELECT num_nonnulls(x), num_nonnulls(y) FROM s.a") == [(0, 0), (0, 1)]
    assert list(result.empty) == ["s.b"]
    assert "XML" in result.empty["s.b"]


def test_a_type_of_an_extension_is_left_null_and_a_table_that_requires_one_is_left_empty(database: Connection) -> None:
    script = "CREATE SCHEMA s; CREATE EXTENSION vector; CREATE TABLE s.a (x vector(3), y text); "
    result = filled(database, script + "CREATE TABLE s.b (x vector NOT NULL)")
    assert result.rows == {"s.a": 2, "s.b": 0}
    assert result.empty == {"s.b": "no value of type public.vector is known for its column x"}


@pytest.mark.soak
def test_an_org_of_four_hundred_objects_is_filled_and_read_in_seconds(database: Connection) -> None:
    metadata = MetaData()
    kinds = (
        "string",
        "currency",
        "boolean",
        "datetime",
        "textarea",
        "date",
        "picklist",
        "reference",
        "double",
        "email",
    )
    fields = {f"F{n}__c": {"type": kinds[n % len(kinds)], "length": 255, "precision": 18} for n in range(24)}
    objects = {f"Thing{n}__c": account(**fields)["Account"] for n in range(400)}
    add_provider_tables(metadata, ObjectMeta.model_validate({"objects": objects}), "salesforce")
    run_script(database, ";\n".join(ddl(Desired(metadata, ("salesforce",)))))
    names = sorted(metadata.tables)
    start = time.monotonic()
    result = fill(database, names, None)
    snapshot = take(database, names)
    # About one second where nothing else runs.
    assert time.monotonic() - start < 10
    assert (len(result.rows), set(result.rows.values()), result.empty) == (400, {2}, {})
    assert all(len(column.values) >= 1 for table in snapshot.values() for column in table.columns.values())


KEYS = {
    "one column": "a text PRIMARY KEY, b integer UNIQUE",
    "a default in a key": "a text DEFAULT '1', b text DEFAULT '1', PRIMARY KEY (a, b)",
    "an expression": "a text, CONSTRAINT x EXCLUDE (lower(a) WITH =)",
    "ranges that may not meet": "during int4range NOT NULL, EXCLUDE USING gist (during WITH &&)",
    "nulls that are one value": "a integer UNIQUE NULLS NOT DISTINCT, b boolean UNIQUE NULLS NOT DISTINCT",
    "a deferrable key": "a text DEFAULT '1' UNIQUE DEFERRABLE INITIALLY DEFERRED, b text UNIQUE DEFERRABLE",
    "numbers from PostgreSQL": "a bigserial PRIMARY KEY, b integer GENERATED BY DEFAULT AS IDENTITY UNIQUE",
    "few values": "a boolean PRIMARY KEY",
    "nothing to give": "a bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "computed": "a text NOT NULL UNIQUE, b text GENERATED ALWAYS AS (upper(a)) STORED UNIQUE",
}


@pytest.mark.parametrize("columns", KEYS.values(), ids=KEYS)
def test_rows_differ_where_a_key_asks_for_it(database: Connection, columns: str) -> None:
    result = filled(database, f"CREATE SCHEMA s; CREATE TABLE s.t ({columns})")
    assert (result.rows, result.empty) == ({"s.t": 2}, {})
    database.commit()
    run_script(database, "REINDEX TABLE s.t")


@pytest.mark.parametrize("key", ["PRIMARY KEY", "UNIQUE DEFERRABLE", "UNIQUE NULLS NOT DISTINCT DEFERRABLE"])
def test_rows_that_are_there_already_are_no_hindrance(database: Connection, key: str) -> None:
    script = f"CREATE SCHEMA s; CREATE TABLE s.t (a text {key}, b text); INSERT INTO s.t VALUES ('1', 'x'), ('3', 'y')"
    assert filled(database, script).rows == {"s.t": 2}
    assert select(database, "SELECT count(*), count(DISTINCT a) FROM s.t") == [(4, 4)]
    database.commit()
    run_script(database, "REINDEX TABLE s.t")


REFERENCES = {
    "a chain, not in its order": """
        CREATE TABLE s.c (id uuid PRIMARY KEY);
        CREATE TABLE s.b (id integer PRIMARY KEY, c uuid NOT NULL REFERENCES s.c);
        CREATE TABLE s.a (b integer PRIMARY KEY REFERENCES s.b)""",
    "a self reference": "CREATE TABLE s.a (id int GENERATED ALWAYS AS IDENTITY UNIQUE, up int REFERENCES s.a (id))",
    "a required self reference": """
        CREATE TABLE s.a (id int GENERATED ALWAYS AS IDENTITY UNIQUE, up int NOT NULL UNIQUE REFERENCES s.a (id))""",
    "a circle with a way out": """
        CREATE TABLE s.a (id integer PRIMARY KEY, b text);
        CREATE TABLE s.b (id text PRIMARY KEY, a integer REFERENCES s.a);
        ALTER TABLE s.a ADD FOREIGN KEY (b) REFERENCES s.b""",
    "a required circle": """
        CREATE TABLE s.a (id bigserial PRIMARY KEY, b uuid NOT NULL);
        CREATE TABLE s.b (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, a bigint NOT NULL UNIQUE REFERENCES s.a);
        ALTER TABLE s.a ADD FOREIGN KEY (b) REFERENCES s.b""",
    "a deferrable circle of three": """
        CREATE TABLE s.a (id integer PRIMARY KEY, x integer NOT NULL); CREATE TABLE s.b (LIKE s.a INCLUDING ALL);
        CREATE TABLE s.c (LIKE s.a INCLUDING ALL);
        ALTER TABLE s.a ADD FOREIGN KEY (x) REFERENCES s.b DEFERRABLE INITIALLY DEFERRED;
        ALTER TABLE s.b ADD FOREIGN KEY (x) REFERENCES s.c DEFERRABLE;
        ALTER TABLE s.c ADD FOREIGN KEY (x) REFERENCES s.a""",
    "keys of several columns that share one": """
        CREATE TABLE s.a (tenant text, id integer, PRIMARY KEY (tenant, id));
        CREATE TABLE s.b (tenant text, x integer, y integer, z integer, PRIMARY KEY (tenant, x),
            FOREIGN KEY (tenant, x) REFERENCES s.a, FOREIGN KEY (tenant, y) REFERENCES s.a,
            FOREIGN KEY (tenant, z) REFERENCES s.b, CHECK (x <= y))""",
    "one of several": """
        CREATE TABLE s.a (id uuid PRIMARY KEY);
        CREATE TABLE s.b (x uuid REFERENCES s.a, y uuid REFERENCES s.a, CHECK (num_nonnulls(x, y) = 1))""",
    "null together": """
        CREATE TABLE s.a (x text, y text, PRIMARY KEY (x, y));
        CREATE TABLE s.b (x text, y text, FOREIGN KEY (x, y) REFERENCES s.a MATCH FULL)""",
    "a default that refers to nothing": """
        CREATE TABLE s.a (id text PRIMARY KEY); CREATE TABLE s.b (a text DEFAULT 'nobody' REFERENCES s.a)""",
    "a partitioned table": """
        CREATE TABLE s.p (id integer PRIMARY KEY, x text) PARTITION BY RANGE (id);
        CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (500) TO (600);
        CREATE TABLE s.p2 PARTITION OF s.p DEFAULT; CREATE TABLE s.b (p integer NOT NULL REFERENCES s.p)""",
    "partitions by hash": """
        CREATE TABLE s.p (id integer PRIMARY KEY, x text) PARTITION BY HASH (id);
        CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES WITH (modulus 2, remainder 0);
        CREATE TABLE s.p2 PARTITION OF s.p FOR VALUES WITH (modulus 2, remainder 1);
        CREATE TABLE s.b (p integer NOT NULL REFERENCES s.p)""",
}


@pytest.mark.parametrize("script", REFERENCES.values(), ids=REFERENCES)
def test_references_refer_to_rows_and_are_given_where_they_may_be_null(database: Connection, script: str) -> None:
    run_script(database, f"CREATE SCHEMA s; {script}")
    facts = read_facts(database, ["s"])
    result = fill(database, sorted(facts.tables()), facts)
    assert result.empty == {}
    assert set(result.rows.values()) == {2}
    database.commit()
    keys = select(
        database,
        "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), conkey[1] FROM pg_constraint "
        "WHERE contype = 'f' AND connamespace = 's'::regnamespace AND conparentid = 0",
    )
    assert keys
    for table, name, definition, _ in keys:
        run_script(database, f'ALTER TABLE {table} DROP CONSTRAINT "{name}", ADD CONSTRAINT "{name}" {definition}')
        column = definition.split("(")[1].split(")")[0].split(", ")[-1]
        if "num_nonnulls" not in script:
            assert select(database, f"SELECT count({column}) > 0 FROM {table}") == [(True,)]


def test_a_number_of_postgresqls_own_that_refers_to_nothing_leaves_the_table_empty(database: Connection) -> None:
    script = """
        CREATE SCHEMA s; CREATE TABLE s.a (id bigint PRIMARY KEY CHECK (id > 50));
        CREATE TABLE s.b (id bigint GENERATED ALWAYS AS IDENTITY REFERENCES s.a)"""
    result = filled(database, script)
    assert result.rows == {"s.a": 2, "s.b": 0}
    assert result.empty == {"s.b": "no row that id refers to could be had"}
    assert select(database, "SELECT * FROM s.b") == []


def test_what_refers_to_an_empty_table_is_null_or_empty_too(database: Connection) -> None:
    script = """
        CREATE SCHEMA s; CREATE TABLE s.a (id integer PRIMARY KEY CHECK (id <> id));
        CREATE TABLE s.b (a integer NOT NULL REFERENCES s.a); CREATE TABLE s.c (a integer REFERENCES s.a, b text)"""
    result = filled(database, script)
    assert result.rows == {"s.a": 0, "s.b": 0, "s.c": 2}
    assert result.empty.keys() == {"s.a", "s.b"}
    assert select(database, "SELECT a, b FROM s.c") == [(None, None), (None, "1")]


def test_tables_that_are_referred_to_are_filled_though_not_named(database: Connection) -> None:
    run_script(
        database, "CREATE SCHEMA s; CREATE TABLE s.a (id text PRIMARY KEY); CREATE TABLE s.b (a text REFERENCES s.a)"
    )
    assert fill(database, ["s.b", "s.gone"], None).rows == {"s.a": 2, "s.b": 2}


CHECKS = {
    "one of": "a text NOT NULL CHECK (a IN ('open', 'it''s done'))",
    "a varchar one of": "a varchar(9) CHECK (a IN ('open', 'closed'))",
    "more than": "a integer CHECK (a > 41), b numeric(5,2) CHECK (b < 0.5 AND b > 0), c bigint CHECK (c <= -7)",
    "length": "a text CHECK (length(a) = 18), b bytea CHECK (octet_length(b) = 32), c text CHECK (char_length(c) >= 3)",
    "order": "a date, b date, c timestamptz DEFAULT now(), d timestamptz NOT NULL, CHECK (a < b), CHECK (d > c)",
    "equal columns": "a text, b text, CHECK (a = b), UNIQUE (a), CHECK (a <> '')",
    "form": "a text CHECK (a ~ '^[a-z]+$'), b text CHECK (b LIKE '%@%.%'), c text CHECK (c LIKE 'SF_%')",
    "json": "a jsonb CHECK (jsonb_typeof(a) = 'array'), b jsonb CHECK (b ? 'name' AND b ? 'id')",
    "one depends on another": "a text, b integer, c text, CHECK ((a = 'x') = (b IS NULL)), CHECK (a IN ('x', 'y')), "
    "CHECK ((b = 5) = (c IS NOT NULL))",
    "arrays": "a text[] CHECK (cardinality(a) > 0 AND a <@ ARRAY['red', 'green'])",
    "numbers of PostgreSQL": "id bigint GENERATED ALWAYS AS IDENTITY CHECK (id > 0), a text CHECK (a <> '1')",
    "one that can fail": "a text NOT NULL CHECK (a::date > '2000-12-31'), b integer NOT NULL CHECK (10 / b > 3)",
    "a function of its own": "a text NOT NULL CHECK (s.good(a))",
    "a domain": "a s.code, b s.code[]",
    "a computed column": "a integer NOT NULL, b integer GENERATED ALWAYS AS (a * 2) STORED CHECK (b > 20)",
    "a date": "a date NOT NULL CHECK (a >= '2020-02-29')",
    "names that want quotes": """ "A b" text CHECK ("A b" IN ('x y')), "50%" integer CHECK ("50%" = 50) """,
    "all or nothing": "a text, b text, c text, CHECK (num_nulls(a, b, c) IN (0, 3))",
}


@pytest.mark.parametrize("columns", CHECKS.values(), ids=CHECKS)
def test_rows_satisfy_checks(database: Connection, columns: str) -> None:
    script = """
        CREATE SCHEMA s; CREATE DOMAIN s.code AS text CHECK (VALUE IN ('red', 'green'));
        CREATE FUNCTION s.good(t text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$ SELECT t = 'a' $$;"""
    result = filled(database, f"{script} CREATE TABLE s.t ({columns})")
    assert (result.rows, result.empty) == ({"s.t": 2}, {})


def test_a_full_row_has_a_value_wherever_checks_allow_one(database: Connection) -> None:
    filled(database, f"CREATE SCHEMA s; CREATE TABLE s.t ({CHECKS['one depends on another']})")
    assert select(database, "SELECT * FROM s.t") == [(None, None, None), ("y", 5, "1")]


def test_a_check_that_nothing_satisfies_leaves_the_table_empty_and_says_so(database: Connection) -> None:
    result = filled(database, "CREATE SCHEMA s; CREATE TABLE s.t (a text NOT NULL CONSTRAINT odd CHECK (md5(a) = 'x'))")
    assert result.rows == {"s.t": 0}
    assert "odd" in result.empty["s.t"]


def test_triggers_and_rules_do_not_fire(database: Connection) -> None:
    script = """
        CREATE SCHEMA s; CREATE TABLE s.t (a text); CREATE TABLE s.u (a text);
        CREATE FUNCTION s.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
        CREATE TRIGGER no BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.no();
        CREATE RULE no AS ON INSERT TO s.u DO INSTEAD NOTHING"""
    assert filled(database, script).rows == {"s.t": 2, "s.u": 2}
    assert select(database, "SELECT count(*) FROM s.u") == [(2,)]
    assert select(database, "SHOW session_replication_role") == [("origin",)]


def test_a_role_that_may_not_switch_triggers_off_fills_what_it_can(database: Connection) -> None:
    run_script(database, "CREATE ROLE monarch_test_plain; CREATE SCHEMA s AUTHORIZATION monarch_test_plain")
    try:
        run_script(database, "SET LOCAL ROLE monarch_test_plain")
        result = filled(
            database,
            REFERENCES["keys of several columns that share one"]
            + "; CREATE TABLE s.x (a text); "
            + REFERENCES["a required circle"].replace("s.a", "s.d").replace("s.b", "s.e"),
        )
        assert result.rows == {"s.a": 2, "s.b": 2, "s.x": 2, "s.d": 0, "s.e": 0}
        assert "foreign key" in result.empty["s.d"]
    finally:
        database.rollback()


def test_what_has_no_rows_of_its_own_is_passed_over(database: Connection) -> None:
    script = "CREATE TABLE s.none (); CREATE TABLE s.p (a integer) PARTITION BY LIST (a); CREATE VIEW s.v AS SELECT 1"
    assert filled(database, f"CREATE SCHEMA s; {script}") == Filled({}, {})
