"""What tests of adoption share: a chain, what another system built, and all that is written. No tests."""

from __future__ import annotations

from typing import Any

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.adopt import Adoption, adopt
from monarch_dagster_tests.migrations.support import write_chain
from monarch_dagster_tests.support import Project

FIRST = (
    "CREATE SCHEMA IF NOT EXISTS s; CREATE TABLE s.a (id int PRIMARY KEY); CREATE TABLE s.kept (x text)",
    "DROP SCHEMA s CASCADE",
)
SECOND = ("ALTER TABLE s.a ADD name text; CREATE INDEX ix_name ON s.a (name)", "ALTER TABLE s.a DROP name")
THIRD = ("CREATE TABLE s.b (a_id int REFERENCES s.a)", "DROP TABLE s.b")
# What r2 comes to, made in another way.
OLD_SYSTEM = """
CREATE SCHEMA s;
CREATE TABLE s.kept (x text);
CREATE TABLE s.a (name text, id int NOT NULL, CONSTRAINT a_pkey PRIMARY KEY (id));
CREATE INDEX ix_name ON s.a USING btree (name);
INSERT INTO s.a VALUES ('kept', 1);
"""
VERSIONS = "CREATE SCHEMA alembic; CREATE TABLE alembic.alembic_version (version_num varchar(32) PRIMARY KEY)"


def with_chain(project: Project, *more: tuple[str, str]) -> Project:
    """Write two revisions and `more`, which are taken as proved."""
    write_chain(project, FIRST, SECOND, *more)
    project.trusting = True
    return project


def with_old_system(project: Project, *more: tuple[str, str]) -> Project:
    """The same, and build the target as another system does: its schema is that of the second revision."""
    with_chain(project, *more).execute(OLD_SYSTEM)
    return project


def adopted(project: Project, **options: Any) -> Adoption:
    return adopt(project.chain(), project.target, project.shadows, **options)


def refused(project: Project, **options: Any) -> str:
    """Return the message with which the target is not adopted; nothing was written, and the remedy says what to do."""
    before = everything(project)
    with pytest.raises(MonarchError) as caught:
        adopted(project, **options)
    assert caught.value.remedy
    assert everything(project) == before
    return str(caught.value)


def everything(project: Project) -> tuple[Any, ...]:
    """Return the facts and all that is written in the schema alembic."""
    tables = project.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'alembic' ORDER BY 1")
    schema = project.execute("SELECT to_regnamespace('alembic')::text")
    return project.facts(), schema, *(project.execute(f"SELECT * FROM alembic.{name} ORDER BY 1") for (name,) in tables)


def ledger(project: Project) -> list[tuple[str, str, str | None, bool]]:
    """Return direction, revision, down revision and whether it is in force, of each row in the order of writing."""
    columns = "direction, revision, down_revision, ended_at IS NULL"
    return [tuple(row) for row in project.execute(f"SELECT {columns} FROM alembic.revision_ledger ORDER BY id")]
