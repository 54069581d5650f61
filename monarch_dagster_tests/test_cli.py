"""The command line: exit codes, what is printed where, and what a person is told."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from monarch_dagster_tests.support import SMALL_MODELS, Project, account, squeeze

NAME = {"type": "string", "length": 255}


@pytest.mark.soak
def test_set_up_without_flags_runs_the_migrations_that_exist_and_generates_none(project: Project) -> None:
    project.generate()
    project.write_meta(account(Name=NAME))
    done = project.monarch("setup", "--json")
    state = json.loads(done.stdout)["assets"]["schema_state"]
    assert state["revision_before"] == "base"
    assert state["revision_after"] == project.chain().head
    assert len(project.chain().revisions) == 1


@pytest.mark.soak
def test_generate_run_and_revert_do_what_their_names_say(project: Project) -> None:
    project.write_meta(account(Name=NAME))
    generated = project.monarch("generate-migrations", "--message", "Add the account")
    [path] = project.versions.glob("*_add_the_account.py")
    assert path.name in squeeze(generated.stdout)
    assert project.facts().tables() == set()
    project.monarch("run-migrations")
    assert project.facts().tables() == {"landing.note", "salesforce.account"}
    again = project.monarch("run-migrations")
    assert "Nothing to run" in again.stdout
    project.monarch("revert", "--to", "base")
    assert project.facts().relations == {}


def test_status_as_json_has_the_documented_keys(project: Project) -> None:
    project.write_meta({**account(Name=NAME, Old__c={**NAME, "missing": True})})
    revision = project.generate().revisions[0]
    found = json.loads(project.monarch("status", "--json").stdout)
    assert found["database_revision"] is None
    assert found["head_revision"] == revision.revision
    assert found["heads"] == [revision.revision]
    assert found["pending"] == [
        {"revision": revision.revision, "down_revision": None, "path": str(revision.path)}
        | {"hazards": [], "tables": [], "conversions": []}
    ]
    assert found["sources_covered"] is True
    assert found["missing"] == [{"object": "Account", "field": "Old__c"}]
    assert found["drift"] == []
    assert found["object_meta"]["objects"] == 1
    assert found["object_meta"]["fields"] == 3


def test_status_names_drift_and_lists_foreign_relations_without_calling_them_drift(project: Project) -> None:
    project.generate()
    project.apply()
    project.execute("ALTER TABLE landing.note ALTER body TYPE varchar(9)")
    project.execute("CREATE TABLE landing.somebodys (id int)")
    found = json.loads(project.monarch("status", "--json").stdout)
    assert [item["relation"] for item in found["drift"]] == ["table landing.note"]
    assert "character varying(9)" in found["drift"][0]["detail"]
    assert found["foreign"] == ["table landing.somebodys"]


def test_check_ends_with_1_while_a_revision_is_pending_and_with_0_after_it_ran(project: Project) -> None:
    project.generate()
    pending = project.monarch("check", code=1)
    assert "alembic_version_at_head" in pending.stdout
    assert "1 revision" in pending.stderr
    project.apply()
    project.monarch("check")


@pytest.mark.soak
def test_checks_of_the_files_need_no_target_and_are_a_gate(project: Project) -> None:
    nowhere = {"MONARCH_DATABASE_URL": "postgresql://127.0.0.1:9/nowhere"}
    project.generate()
    found = json.loads(project.monarch("check", "--files", "--json", **nowhere).stdout)
    assert list(found) == ["revision_chain_unbroken", "sources_covered", "revisions_proved", "tables_within_limits"]
    project.write_models(SMALL_MODELS + SMALL_MODELS.replace("Note", "Memo").replace('"note"', '"memo"'))
    done = project.monarch("check", "--files", code=1, **nowhere)
    assert "sources ahead of the revisions" in done.stdout
    assert "monarch generate-migrations" in done.stderr


@pytest.mark.soak
def test_a_database_that_was_set_up_elsewhere_is_adopted(project: Project) -> None:
    head = project.generate().head
    project.apply()
    project.execute("DROP SCHEMA alembic CASCADE; CREATE SCHEMA alembic")
    project.execute("CREATE TABLE alembic.alembic_version (version_num varchar(32) PRIMARY KEY)")
    project.execute("INSERT INTO alembic.alembic_version VALUES ('8ae0a8ff3e29')")
    assert "monarch adopt" in project.monarch("run-migrations", code=1).stderr
    assert json.loads(project.monarch("adopt", "--dry-run", "--json").stdout)["after"] == head
    project.monarch("check", code=1)
    assert str(head) in project.monarch("adopt").stdout
    project.monarch("check")
    assert "Nothing to run" in project.monarch("run-migrations").stdout


def test_a_dry_run_of_generate_prints_the_file_and_writes_none(project: Project) -> None:
    done = project.monarch("generate-migrations", "--dry-run")
    assert "op.create_table('note'" in done.stdout
    assert not project.versions.exists()


def test_a_dry_run_of_run_migrations_prints_the_sql_and_runs_none(project: Project) -> None:
    project.generate()
    done = project.monarch("run-migrations", "--dry-run")
    assert "CREATE TABLE landing.note" in done.stdout
    assert project.facts().tables() == set()


def test_a_dry_run_tells_what_the_tables_hold_that_would_be_dropped(project: Project) -> None:
    project.write_models(SMALL_MODELS + SMALL_MODELS.replace("Note", "Memo").replace('"note"', '"memo"'))
    project.generate()
    project.apply()
    project.execute("INSERT INTO landing.memo (body) VALUES ('a'), ('b')")
    project.execute("ANALYZE landing.memo")
    project.write_models(SMALL_MODELS)
    head = project.generate().head
    done = project.monarch("run-migrations", "--dry-run")
    line = f"{head} data_loss: landing.memo: the table is dropped with its rows (about 2 rows"
    assert line in squeeze(done.stderr)
    found = json.loads(project.monarch("run-migrations", "--dry-run", "--json").stdout)["hazards"][0]
    assert (found["object"], found["rows"]) == ("landing.memo", "about 2")


def test_an_empty_revision_is_written_to_be_filled_in_by_hand(project: Project) -> None:
    project.generate()
    project.monarch("generate-migrations", "--empty", "--message", "by hand")
    assert project.chain().revisions[-1].message == "by hand"


@pytest.mark.parametrize("arguments", [["--dry-run"], []], ids=["dry run", "run"])
def test_an_unreachable_database_is_named_without_its_password(project: Project, arguments: list[str]) -> None:
    project.generate()
    url = "postgresql://someone:s3cret-word@127.0.0.1:1/nowhere"
    done = project.monarch("run-migrations", *arguments, code=1, MONARCH_DATABASE_URL=url)
    assert "nowhere on 127.0.0.1:1" in done.stderr
    assert "s3cret-word" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MONARCH_DATABASE_URL", "mysql://user:s3cret-word@host/db"),
        ("MONARCH_DATABASE_URL", "s3cret-word"),
        ("MONARCH_PROVIDER_SCHEMA", "pg_catalog"),
        ("SALESFORCE_INSTANCE_URL", "http://acme.my.salesforce.com"),
        ("SALESFORCE_BASE_URL", "http://example.com"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_what_to_do(project: Project, variable: str, value: str) -> None:
    done = project.monarch("status", code=1, **{variable: value})
    assert variable in done.stderr
    assert "What to do" in done.stderr
    assert "s3cret-word" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MONARCH_SHADOW_URL", "postgresql://user:s3cret-word@127.0.0.1:1/postgres"),
        ("MONARCH_SHADOW_URL", "s3cret-word"),
        ("MONARCH_CORE_MODELS", "no.such.module"),
    ],
)
def test_status_ends_with_what_kept_it_from_comparing_and_shows_the_rest(
    project: Project, variable: str, value: str
) -> None:
    head = project.generate().head
    done = project.monarch("status", **{variable: value})
    assert f"head       {head}\npending    1\n" in done.stdout
    assert "covered by the revisions: not known, see below\n" in done.stdout
    assert variable in done.stderr.split("What to do: ")[1]
    assert "Next:" not in done.stderr
    assert "s3cret-word" not in done.stdout + done.stderr


def test_wrong_usage_ends_with_2(project: Project) -> None:
    project.monarch("revert", code=2)
    project.monarch("no-such-command", code=2)
    project.monarch("fetch", "--max-missing", "101", code=2)


def test_a_fetch_without_a_login_says_which_variables_make_one(project: Project) -> None:
    done = project.monarch("fetch", "--json", code=1)
    assert "SALESFORCE_CONSUMER_SECRET" in done.stderr
    assert json.loads(done.stdout).keys() == {"error", "remedy"}
    assert not project.sources.object_meta_path.exists()


def test_the_demo_does_the_whole_job_in_a_folder_of_its_own_and_then_has_nothing_to_do(project: Project) -> None:
    settings = {"MONARCH_DATABASE_URL": "", "MONARCH_SCHEMA_DIR": "", "MONARCH_CORE_MODELS": ""}
    try:
        first = project.monarch("demo", **settings)
        assert first.stderr.startswith("Demo:")
        assert "1 revision applied" in first.stdout
        again = project.monarch("demo", **settings)
        assert "Nothing to generate" in again.stdout
        assert "Nothing to run" in again.stdout
        assert not (project.root / "src").exists()
    finally:
        project.monarch("stop")


def test_the_sample_org_prints_export_lines_that_a_fetch_can_use(project: Project) -> None:
    command = [sys.executable, "-m", "monarch_dagster", "sample-org", "--port", "0"]
    with subprocess.Popen(
        command, cwd=project.root, env=project.environment(), stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline().strip() for _ in range(4)]
        variables = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        allowed = ("--other-org", "--lower-api-version", "--max-missing", "100")
        project.monarch("fetch", "--object", "Account", *allowed, **variables)
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
    assert json.loads(Path(project.sources.object_meta_path).read_text())["objects"].keys() == {"Account"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run-migrations", "--to", "head-1"], "'head-1' is no revision"),
        (["revert", "--to", "@"], "'@' is no revision"),
        (["run-migrations", "--allow-data-loss", "1a2b:"], "'1a2b:' is neither REV nor FROM:TO"),
        (["check", "--allow-data-loss", "a:b:c"], "'a:b:c' is neither REV nor FROM:TO"),
    ],
)
def test_what_cannot_name_a_revision_is_wrong_usage(project: Project, arguments: list[str], told: str) -> None:
    assert told in squeeze(project.monarch(*arguments, code=2).stderr)
