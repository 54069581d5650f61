"""Indexes that are built while others write: leftovers of interrupted builds neither stop a run nor block readers."""

import threading
import time

import pytest
from sqlalchemy import exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect
from monarch_dagster_tests.support import SMALL_MODELS, Project, account

UNIQUE = '    code: Mapped[str | None] = mapped_column(Text, info={"renamed_from": "body"}, index=True, unique=True)\n'
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('landing.ix_note_code')"


@pytest.fixture
def pending(project: Project) -> Project:
    """A project whose target is in front of a revision that builds the unique index `ix_note_code`."""
    project.generate()
    project.apply()
    project.write_models(SMALL_MODELS.replace("    body: Mapped[str] = mapped_column(Text)\n", UNIQUE))
    project.generate()
    build = next(item for item in project.chain().revisions if "autocommit_block" in item.path.read_text())
    project.apply(to=str(build.down_revision))
    return project


def leave_invalid(project: Project) -> None:
    """Leave what an interrupted build leaves."""
    project.execute("INSERT INTO landing.note (code) VALUES ('x'), ('x')")
    with connect(project.target, autocommit=True) as connection, pytest.raises(exc.IntegrityError):
        connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY ix_note_code ON landing.note (code)")
    assert project.execute(VALID) == [(False,)]


def test_the_index_is_built_and_taken_back(pending: Project) -> None:
    below = pending.execute("SELECT version_num FROM alembic.alembic_version")[0][0]
    pending.apply()
    assert pending.execute(VALID) == [(True,)]
    pending.revert(below)
    assert pending.execute(VALID) == []


def test_a_leftover_is_dropped_and_the_index_built_anew(pending: Project) -> None:
    leave_invalid(pending)
    with pytest.raises(MonarchError, match="could not create unique index") as caught:
        pending.apply()
    assert "Correct the rows that have the same values" in caught.value.remedy
    assert pending.execute(VALID) == []  # left invalid, it would go on refusing rows
    pending.execute("UPDATE landing.note SET code = id::text")
    pending.apply()
    assert pending.execute(VALID) == [(True,)]


def test_readers_go_on_while_a_leftover_waits_to_be_dropped_behind_a_writer(pending: Project) -> None:
    leave_invalid(pending)
    pending.execute("UPDATE landing.note SET code = id::text")
    with connect(pending.target) as writer, connect(pending.target, autocommit=True) as reader:
        writer.exec_driver_sql("INSERT INTO landing.note (code) VALUES ('open')")
        applying = threading.Thread(target=pending.apply)
        applying.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^DROP INDEX CONCURRENTLY' AND datname = %s"
        while not reader.exec_driver_sql(waits, (pending.target.database,)).scalar_one():
            time.sleep(0.02)
        reader.exec_driver_sql("SET statement_timeout = '2s'")
        for _ in range(5):
            assert reader.exec_driver_sql("SELECT count(*) FROM landing.note").scalar_one() == 2
            time.sleep(0.05)
        writer.rollback()
        applying.join()
    assert pending.execute(VALID) == [(True,)]


def test_the_plain_index_of_an_external_id_stays_until_the_unique_one_is_built(project: Project) -> None:
    external = {"type": "string", "length": 40, "externalId": True}
    indexes = "SELECT indexname FROM pg_indexes WHERE tablename = 'account' AND indexname <> 'pk_account'"
    plain, unique = [("ix_account_code__c",)], [("uq_account_code__c",)]
    project.write_meta(account(Code__c=external))
    project.generate()
    project.apply()
    project.execute("INSERT INTO salesforce.account VALUES ('1', 'a'), ('2', 'A')")
    project.write_meta(account(Code__c=external | {"unique": True}))
    project.generate()
    with pytest.raises(MonarchError, match="could not create unique index"):
        project.apply()
    assert project.execute(indexes) == plain
    project.execute("UPDATE salesforce.account SET code__c = 'b' WHERE id = '2'")
    project.apply()
    assert project.execute(indexes) == unique
    project.revert(str(project.chain().revisions[0].revision))
    assert project.execute(indexes) == plain


@pytest.mark.soak
def test_a_build_that_a_backend_without_a_client_still_does_is_waited_for(pending: Project) -> None:
    pending.execute("INSERT INTO landing.note (code) VALUES ('x')")
    with connect(pending.target) as writer, connect(pending.target, autocommit=True) as other:
        writer.exec_driver_sql("INSERT INTO landing.note (code) VALUES ('open')")
        build = "CREATE UNIQUE INDEX CONCURRENTLY ix_note_code ON landing.note (code)"
        building = threading.Thread(target=lambda: other.exec_driver_sql(build))
        building.start()
        while pending.execute(VALID) != [(False,)]:
            time.sleep(0.02)
        applying = threading.Thread(target=pending.apply)
        applying.start()
        time.sleep(1)
        assert applying.is_alive()
        assert pending.execute(VALID) == [(False,)]
        writer.rollback()
        building.join()
        applying.join()
    assert pending.execute(VALID) == [(True,)]
