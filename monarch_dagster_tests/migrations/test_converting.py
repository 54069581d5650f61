"""Conversions at apply: judged by what the revision's own statements do, whoever wrote it, and told without values."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.checks import TARGET_CHECKS
from monarch_dagster.migrations.preview import preview_conversions
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.postgres.quoting import literal
from monarch_dagster_tests.migrations.support import sql, write_chain, write_revision
from monarch_dagster_tests.support import SMALL_MODELS, Project, account, squeeze

FULL = "INSERT INTO t VALUES ('7', 1.50, 'secret-one'), ('x', 1.25, '9'), (NULL, NULL, NULL)"
STRING: dict[str, Any] = {"type": "string", "length": 40}
NUMBER: dict[str, Any] = {"type": "double", "precision": 18, "scale": 2}


@pytest.fixture(autouse=True)
def trusted(project: Project) -> None:
    """What is applied here is taken as proved."""
    project.trusting = True


def prepared(project: Project, *changes: str, rows: str = FULL) -> None:
    """Apply a table with rows; what is pending then is a revision with the changes."""
    write_chain(project, ("CREATE TABLE t (a varchar(20), n numeric(10,2), b text)", "DROP TABLE t"))
    project.apply()
    project.execute(rows)
    write_revision(project.versions, "r2", "r1", up=sql(*changes))


def refusal(project: Project, **options: Any) -> list[str]:
    """Have the pending revision refused, with nothing changed; return the lines that tell why."""
    before = project.execute("SELECT xmin, * FROM t"), project.facts()
    with pytest.raises(MonarchError) as caught:
        project.apply(**options)
    assert (project.execute("SELECT xmin, * FROM t"), project.facts()) == before
    assert "secret" not in str(caught.value)
    return [line.strip() for line in caught.value.message.splitlines()]


def test_what_cannot_be_converted_is_counted_in_every_column_and_no_name_helps(project: Project) -> None:
    prepared(
        project,
        "ALTER TABLE t ALTER COLUMN a TYPE integer USING a::integer, ALTER n SET DATA TYPE numeric(10,1)",
        "ALTER TABLE t ALTER b TYPE varchar(5);",
        "ALTER TABLE t ADD CHECK (a > 0)",
    )
    told = [
        "Revision r2 converts columns whose values do not all fit; nothing of it was applied:",
        "public.t.a: from character varying(20) to integer: 1 of 2 values cannot become that",
        "public.t.n: from numeric(10,2) to numeric(10,1): 1 of 2 values would be cut",
        "public.t.b: from text to character varying(5): 1 of 2 values cannot become that",
    ]
    assert refusal(project) == told
    assert refusal(project, allow_data_loss=["r2"]) == told


@pytest.mark.parametrize(
    ("kind", "kept", "lost"),
    [
        (
            "timestamptz",
            [
                "2024-02-29",
                " 2024-2-9 1:00 ",
                "20240229",
                "2024-02-29T10:00:00.123456Z",
                "2024-02-29 10:00+05:30",
                "infinity",
            ],
            ["now", "Today", "tomorrow 10:00", "yesterday", "epoch", "04/05/06", "1 Nov 24", "12.345", "240229"],
        ),
        (
            "date",
            ["2024-02-29", "0044-03-15 BC"],
            ["today", "TOMORROW", "20.11.12", "99.123", "1.2.3", "J1", "2024.060"],
        ),
        ("jsonb", ['{"a": {"b": "x:y"}, "c": "{\\":1}"}', "[1]"], ['{"a": 1, "a": 2}', '[{"k": {"x": 1, "x": 1}}]']),
    ],
)
def test_what_is_no_plain_date_and_a_key_that_stands_twice_are_lost(
    project: Project, kind: str, kept: list[str], lost: list[str]
) -> None:
    rows = ", ".join(f"(NULL, NULL, {literal(text)})" for text in (*kept, *lost))
    prepared(project, f"ALTER TABLE t ALTER b TYPE {kind} USING b::{kind}", rows=f"INSERT INTO t VALUES {rows}")
    [told] = refusal(project)[1:]
    assert told.startswith(f"public.t.b: {len(lost)} values lost in")
    project.execute("DELETE FROM t WHERE b = ANY(%s)", lost)
    project.apply()


def test_what_the_revision_does_first_counts(project: Project) -> None:
    prepared(project, "UPDATE t SET a = NULL WHERE a = 'x'", "ALTER TABLE t ALTER a TYPE integer USING a::integer")
    assert refusal(project)[1:] == ["public.t.a: 1 value lost"]
    project.apply(allow_data_loss=["r2"])
    assert project.execute("SELECT a FROM t ORDER BY 1") == [(7,), (None,), (None,)]


@pytest.mark.parametrize(
    ("using", "told"),
    [
        ("CASE a WHEN 'x' THEN 8 ELSE a::integer END", ["public.t.a: 1 value lost in integer"]),
        ("nullif(a, 'x')::integer", ["public.t.a: 1 value lost in integer"]),
        (
            "coalesce(b, a)::integer",
            ["public.t.a: from character varying(20) to integer: 1 of 2 values cannot become that, "
             "1 of 2 values would be cut"],
        ),
        ("t.a::integer", ["public.t.a: from character varying(20) to integer: 1 of 2 values cannot become that"]),
    ],
)  # fmt: skip
def test_what_stands_behind_using_decides(project: Project, using: str, told: list[str]) -> None:
    prepared(project, f"ALTER TABLE t ALTER a TYPE integer USING {using}")
    assert refusal(project)[1:] == told


@pytest.mark.parametrize(
    "change",
    [
        "DO $$ BEGIN ALTER TABLE t ALTER b TYPE integer USING b::integer; END $$",
        "SELECT 1; ALTER TABLE t ALTER b TYPE integer USING b::integer",
    ],
)
def test_what_is_not_read_is_refused_by_postgresql_and_told_without_the_value(project: Project, change: str) -> None:
    prepared(project, change)
    assert 'which was rolled back: invalid input syntax for type integer: "…"' in refusal(project)[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE t ADD UNIQUE (lower(b), a)", "syntax error"),
        ("CREATE UNIQUE INDEX i ON t ((left(b, 0)))", 'Key ("left"(b, 0))=(…) is duplicated.'),
        ("ALTER TABLE t ALTER b SET NOT NULL", 'column "b" of relation "t" contains null values'),
        ("INSERT INTO t SELECT * FROM t; ALTER TABLE t ADD UNIQUE (b)", "Key (b)=(…) is duplicated."),
        ("ALTER TABLE t ADD CHECK (b IS NULL) NOT VALID; UPDATE t SET a = a", "Failing row contains (…)."),
    ],
)
def test_a_constraint_that_rows_do_not_satisfy_is_told_without_their_values(
    project: Project, change: str, told: str
) -> None:
    prepared(project, change)
    with pytest.raises(MonarchError) as caught:
        project.apply()
    assert told in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        (["ALTER TABLE t ALTER n TYPE numeric(12,4)", "ALTER TABLE t ALTER n TYPE numeric(14,5)"], 1),
        (["ALTER TABLE t ALTER n TYPE numeric(12,4)", "UPDATE t SET n = n"], 2),
    ],
)
def test_a_revision_that_only_converts_runs_once(project: Project, changes: list[str], runs: int) -> None:
    prepared(project, "SELECT nextval('runs')", *changes)
    project.execute("CREATE SEQUENCE runs")
    project.apply()
    # Sequences count on when a transaction is rolled back.
    assert project.execute("SELECT last_value, is_called FROM runs") == [(runs, True)]
    told = project.execute("SELECT sql FROM alembic.revision_ledger ORDER BY id DESC LIMIT 1")
    assert zlib.decompress(told[0][0]).decode() == ";\n".join(["SELECT nextval('runs')", *changes])


def test_a_text_that_a_cast_would_cut_without_loss_is_too_long_all_the_same(project: Project) -> None:
    prepared(project, "ALTER TABLE t ALTER n TYPE varchar(3)", rows="INSERT INTO t (n) VALUES (1.50)")
    assert refusal(project)[1:] == [
        "public.t.n: from numeric(10,2) to character varying(3): 1 of 1 value cannot become that"
    ]


def test_rows_that_go_beside_a_conversion_are_counted(project: Project) -> None:
    prepared(project, "TRUNCATE t", "ALTER TABLE t ALTER n TYPE numeric(12,4)")
    assert refusal(project)[1:] == ["public.t: 3 rows deleted"]


def test_tricky_names_types_of_its_own_partitions_and_required_columns_are_judged(project: Project) -> None:
    write_chain(
        project,
        ("""CREATE DOMAIN short AS varchar(3); CREATE TABLE "a%b.""c" ("x%d $$ ""y" text, other int);
        CREATE TABLE p (k int, v text) PARTITION BY LIST (k); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
        CREATE TABLE r (v text NOT NULL)""", ""),
        ("SELECT 1", ""),
    )  # fmt: skip
    project.apply(to="r1")
    project.execute("""INSERT INTO "a%%b.""c" VALUES ('abcd'), ('a')""")
    project.execute("INSERT INTO p VALUES (1, '1'), (1, 'x'); INSERT INTO r VALUES (''), ('1')")
    changes = [
        'ALTER TABLE "a%b.""c" ALTER "x%d $$ ""y" TYPE short',
        "ALTER TABLE p ALTER v TYPE bigint USING v::bigint",
        "CREATE TYPE mood AS ENUM ('1')",
        "ALTER TABLE r ALTER v TYPE mood USING nullif(v, '')::mood",
    ]
    write_revision(project.versions, "r2", "r1", up=sql(*changes))
    with pytest.raises(MonarchError) as caught:
        project.apply()
    assert [line.strip() for line in caught.value.message.splitlines()[1:]] == [
        'public.a%b."c.x%d $$ "y: from text to character varying(3): 1 of 2 values cannot become that',
        "public.p.v: from text to bigint: 1 of 2 values cannot become that",
        "public.r.v: from text to mood: 1 of 2 values cannot become that",
    ]


def test_values_that_would_be_one_in_a_unique_index_are_told_without_them(project: Project) -> None:
    key = {"externalId": True, "unique": True, "caseSensitive": True}
    project.write_meta(account(Code__c=STRING | key))
    project.generate()
    project.apply()
    project.execute("INSERT INTO salesforce.account VALUES ('1', '7.50'), ('2', '7.5')")
    project.write_meta(account(Code__c=NUMBER | key))
    project.generate()
    with pytest.raises(MonarchError) as caught:
        project.apply()
    assert "7.5" not in str(caught.value)
    assert "which the unique index uq_account_code__c does not allow" in caught.value.message


def test_a_conversion_that_makes_two_external_ids_one_is_taken_back_whole(project: Project) -> None:
    key = {"externalId": True, "unique": True}
    project.write_meta(account(Code__c=STRING | key))
    project.generate()
    project.apply()
    project.execute("INSERT INTO salesforce.account VALUES ('1', '7.50'), ('2', '7.5')")
    before = project.facts()
    project.write_meta(account(Code__c=STRING | key | {"choices": {"column_type": "numeric(18,2)"}}))
    project.generate()
    with pytest.raises(MonarchError, match="could not create unique index"):
        project.apply()
    assert project.facts() == before
    assert project.execute("SELECT code__c FROM salesforce.account ORDER BY id") == [("7.50",), ("7.5",)]
    project.execute("DELETE FROM salesforce.account WHERE id = '2'")
    project.apply()
    project.revert(project.chain().revisions[0].revision)
    assert project.facts() == before


def test_what_stands_on_a_converted_column_of_the_provider_is_built_again(project: Project) -> None:
    key = {"externalId": True, "unique": True}
    lookup = {"type": "reference", "length": 18, "referenceTo": ["Account"], "choices": {"foreign_key": True}}
    fields = {"Code__c": STRING | key, "When__c": {"type": "datetime"}, "Parent__c": lookup, "Note__c": STRING}
    project.write_meta(account(**fields))
    project.generate()
    project.apply()
    before = project.facts()
    project.execute(
        "INSERT INTO salesforce.account (id, code__c, when__c, parent__c, note__c) "
        "VALUES ('1', '7', '2024-02-29 00:00+00', NULL, '5'), ('2', '8', NULL, '1', NULL)"
    )
    changed = {
        "Code__c": NUMBER | key,
        "When__c": {"type": "date"},
        "Parent__c": lookup,
        "Note__c": {"type": "int", "digits": 9},
    }
    project.write_meta(account(**changed))
    proposal = project.generate()
    text = "".join(item.text for item in proposal.revisions)
    assert text.count(" TYPE numeric(18,2)") == 1
    assert "op.alter_column('account', 'code__c'" not in text
    project.apply()
    rows = "SELECT id, code__c::text, when__c::text, parent__c, note__c::text FROM salesforce.account ORDER BY 1"
    assert project.execute(rows) == [("1", "7.00", "2024-02-29", None, "5"), ("2", "8.00", None, "1", None)]
    project.revert(project.chain().revisions[0].revision)
    assert project.facts() == before
    # A text in its place is what PostgreSQL made of the number.
    assert project.execute(rows)[0][:2] == ("1", "7.00")


def test_a_default_a_computed_column_and_a_view_of_a_core_table_go_along(project: Project) -> None:
    model = SMALL_MODELS + '    size: Mapped[str] = mapped_column(String(9), server_default="1")\n'
    model += '    twice: Mapped[str] = mapped_column(Text, Computed("size || size"))\n'
    project.write_models(model)
    project.generate()
    project.apply()
    project.execute("INSERT INTO landing.note (body, size) VALUES ('a', '5'), ('b', 'x')")
    project.write_models(
        model.replace("Mapped[str] = mapped_column(String(9), ", "Mapped[int] = mapped_column(Integer, ")
        .replace("mapped_column(Text, Computed", "mapped_column(Integer, Computed")
        .replace("size || size", "size + size")
    )
    project.generate()
    with pytest.raises(MonarchError, match=r"landing.note.size: .* 1 of 2 values cannot become that"):
        project.apply()
    project.execute("UPDATE landing.note SET size = '6' WHERE size = 'x'")
    project.apply()
    project.execute("INSERT INTO landing.note (body) VALUES ('c')")
    assert project.execute("SELECT size, twice FROM landing.note ORDER BY id") == [(5, 10), (6, 12), (1, 2)]


def test_what_is_renamed_too_is_counted_beforehand(project: Project) -> None:
    project.write_meta(account(Old__c=STRING, Size__c=STRING))
    project.generate()
    project.apply()
    project.execute("INSERT INTO salesforce.account (id, old__c, size__c) VALUES ('1', 'x', '1'), ('2', '2', '2')")
    number = {"type": "int", "digits": 9}
    renamed = account(New__c=number | {"choices": {"renamed_from": "Old__c"}}, Size__c=number)
    client = renamed.pop("Account") | {"choices": {"renamed_from": "Account"}}
    project.write_meta({"Client__c": client})
    project.generate()
    found = {
        (item.column, item.outcome.failing if item.outcome else None)
        for item in preview_conversions(project.target, project.chain().revisions[1:])
    }
    assert found == {("salesforce.client__c.new__c", 1), ("salesforce.client__c.size__c", 0)}
    with pytest.raises(MonarchError, match="1 of 2 values cannot become that"):
        project.apply()


def test_status_and_dry_run_tell_beforehand_what_a_conversion_would_do(project: Project) -> None:
    project.write_meta(account(Size__c=STRING, Rate__c=STRING))
    project.generate()
    project.apply()
    project.execute(
        "INSERT INTO salesforce.account (id, size__c, rate__c) VALUES ('1', '5', '12.345'), ('2', 'secret', '1')"
    )
    project.write_meta(account(Size__c={"type": "int", "digits": 9}, Rate__c=NUMBER))
    head = str(project.generate().head)
    told = [
        {"column": "salesforce.account.rate__c", "from": "character varying(40)", "to": "numeric(18,2)"}
        | {"values": 2, "cannot_become": 0, "cut": 1},
        {"column": "salesforce.account.size__c", "from": "character varying(40)", "to": "integer"}
        | {"values": 2, "cannot_become": 1, "cut": 0},
    ]
    found = json.loads(project.monarch("status", "--json").stdout)
    assert found["pending"][0]["conversions"] == told
    done = project.monarch("run-migrations", "--dry-run")
    line = f"{head} salesforce.account.size__c: from character varying(40) to integer: 1 of 2 values cannot become that"
    assert line in squeeze(done.stderr)
    assert "secret" not in done.stdout + done.stderr
    assert project.execute("SELECT count(*) FROM pg_proc WHERE proname ~ 'monarch'") == [(0,)]
    check = TARGET_CHECKS["revisions_keep_data"]
    assert check(Situation(project.prover, project.target, (head,))).stored == line
    project.execute("UPDATE salesforce.account SET size__c = '6' WHERE id = '2'")
    assert "1 of 2 values would be cut" in check(Situation(project.prover, project.target)).stored
    assert check(Situation(project.prover, project.target, (head,))).passed
    # One that a person has edited may convert in another way.
    path = project.chain().revisions[-1].path
    path.write_text(path.read_text().replace("size__c::integer", "left(size__c, 1)::integer"))
    assert preview_conversions(project.target, project.chain().revisions[1:]) == ()
