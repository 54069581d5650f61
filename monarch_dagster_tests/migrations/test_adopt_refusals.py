"""A database that cannot be adopted: what it lacks is told, and nothing is written."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.locks import lock_revision
from monarch_dagster_tests.migrations.adopting import (
    FIRST,
    THIRD,
    VERSIONS,
    adopted,
    everything,
    ledger,
    refused,
    with_chain,
    with_old_system,
)
from monarch_dagster_tests.migrations.support import Alembic, sql, write_chain, write_revision
from monarch_dagster_tests.support import Project


@pytest.fixture
def chain(project: Project) -> Project:
    return with_chain(project, THIRD)


@pytest.fixture
def old(project: Project) -> Project:
    return with_old_system(project, THIRD)


def test_a_table_that_a_later_revision_makes_is_a_difference_in_whatever_shape(old: Project) -> None:
    old.execute("CREATE TABLE s.b (by_hand text)")
    message = refused(old)
    assert "equals no revision. The nearest is r2, with 1 difference:" in message
    assert "table s.b: the table is extra" in message


def test_a_table_counts_by_what_is_in_it_where_the_nearest_revision_is_sought(old: Project) -> None:
    wide = ", ".join(f"c{number} int" for number in range(6))
    write_revision(old.versions, "r4", "r3", up=sql(f"CREATE TABLE s.wide ({wide})"), back=sql("DROP TABLE s.wide"))
    old.execute(
        f"CREATE TABLE s.b (a_id int REFERENCES s.a); CREATE TABLE s.wide ({wide}); "
        "ALTER TABLE s.wide DROP c0, ADD c6 int, ALTER c1 SET NOT NULL"
    )
    message = refused(old)
    # Three differences from r4; from r3 it is one, a table, which nobody wants to drop.
    assert "The nearest is r4, with 3 differences:" in message


def test_what_differs_from_the_nearest_revision_is_told(old: Project) -> None:
    old.execute(
        "ALTER TABLE s.a ALTER name TYPE varchar(9), ADD extra int; ALTER TABLE s.kept ALTER x SET NOT NULL; "
        "DROP INDEX s.ix_name; CREATE TABLE s.b (a_id int REFERENCES s.a); CREATE TABLE s.other ()"
    )
    message = refused(old)
    assert "The nearest is r3, with 4 differences:" in message
    for line in (
        "table s.a: column name is character varying(9), expected text",
        "table s.a: column extra is extra (found: integer)",
        "table s.a: index ix_name is missing (expected: CREATE INDEX ix_name ON s.a USING btree (name))",
        "table s.kept: column x is text NOT NULL, expected text",
    ):
        assert f"  {line}\n" in message
    assert "s.other" not in message
    assert "Nothing was changed." in message
    assert refused(old, dry_run=True) == message


def test_a_long_list_of_differences_is_cut(old: Project) -> None:
    old.execute("; ".join(f"ALTER TABLE s.a ADD extra_{number} int" for number in range(30)))
    message = refused(old)
    assert message.count("is extra") == 10
    assert "… and 20 more" in message


def test_an_empty_database_equals_no_revision(chain: Project) -> None:
    assert "schema s: the schema is missing" in refused(chain)


def test_a_chain_that_is_empty_or_has_two_heads_is_refused(project: Project) -> None:
    assert "There is no revision in" in refused(project)
    write_chain(project, FIRST)
    for name in ("a", "b"):
        write_revision(project.versions, name, "r1")
    assert "The chain has 2 heads" in refused(project)


def test_what_a_killed_run_still_commits_is_waited_for(chain: Project, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    chain.apply(to="r2")
    chain.execute("UPDATE alembic.alembic_version SET version_num = 'r1'")
    with ThreadPoolExecutor(1) as pool, connect(chain.target) as other:
        lock_revision(other)
        adopting = pool.submit(adopted, chain)
        while "Waiting for the migration lock" not in caplog.text:
            assert not adopting.done()
            time.sleep(0.01)
        other.exec_driver_sql("UPDATE alembic.alembic_version SET version_num = 'r2'")
        other.commit()
        assert not adopting.result(30).written
    assert [row[0] for row in ledger(chain)] == ["upgrade", "upgrade"]


@pytest.fixture
def role(project: Project) -> Iterator[str]:
    """A role that may log in and nothing else."""
    name = f"weak_{secrets.token_hex(4)}"
    project.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    project.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_a_run_on_a_schema_from_elsewhere_without_a_version_says_to_adopt(chain: Project, alembic: Alembic) -> None:
    chain.apply()
    chain.execute("DROP SCHEMA alembic CASCADE")
    with pytest.raises(MonarchError, match="already exists") as caught:
        chain.apply()
    assert "`monarch adopt`" in caught.value.remedy
    assert "`monarch adopt`" in alembic.run("upgrade", "head", code=255)
    assert adopted(chain).written


NO_SCHEMA = (
    "SELECT 1",
    "The role {role} may not make the tables of the schema alembic.* permission denied for database .*"
    "GRANT CREATE ON DATABASE .* TO {role};.*CREATE SCHEMA alembic AUTHORIZATION {role};",
)
NOT_TO_CREATE = (
    "CREATE SCHEMA alembic; GRANT USAGE ON SCHEMA alembic TO {role}",
    "permission denied for schema alembic.*GRANT USAGE, CREATE ON SCHEMA alembic TO {role};",
)
NOT_TO_LOOK = (
    "CREATE SCHEMA alembic",
    "could not be read: permission denied for schema alembic.*the role may read",
)
HIDDEN_VERSION = (
    f"{VERSIONS}; GRANT ALL ON SCHEMA alembic TO {{role}}",
    "could not be read: permission denied for table alembic_version.*the role may read",
)
VERSION_TO_LOOK_AT = (
    f"{VERSIONS}; GRANT ALL ON SCHEMA alembic TO {{role}}; GRANT SELECT ON alembic.alembic_version TO {{role}}",
    "Version and ledger of .* could not be written: permission denied for table alembic_version.*may write",
)


@pytest.mark.parametrize(
    ("rights", "told"),
    [NO_SCHEMA, NOT_TO_CREATE, NOT_TO_LOOK, HIDDEN_VERSION, VERSION_TO_LOOK_AT],
    ids=["no schema", "not to create", "not to look", "a version that is hidden", "a version to look at"],
)
def test_a_role_that_may_not_write_down_the_adoption_is_told_what_it_needs(
    project: Project, role: str, rights: str, told: str
) -> None:
    with_old_system(project).execute(rights.format(role=role))
    before = everything(project)
    with pytest.raises(MonarchError) as caught:
        adopted(replace(project, target=project.target.set(username=role)))
    assert re.search(told.format(role=role), str(caught.value), re.DOTALL), str(caught.value)
    assert everything(project) == before


@pytest.mark.parametrize(("rights", "told"), [NO_SCHEMA, NOT_TO_CREATE], ids=["no schema", "not to create"])
def test_a_role_that_may_not_make_the_ledger_is_told_the_same_when_it_applies(
    project: Project, role: str, rights: str, told: str
) -> None:
    with_chain(project).execute(rights.format(role=role))
    with pytest.raises(MonarchError) as caught:
        replace(project, target=project.target.set(username=role)).apply()
    assert re.search(told.format(role=role), str(caught.value), re.DOTALL), str(caught.value)


def test_a_role_that_owns_the_schema_alembic_needs_no_more_to_adopt(project: Project, role: str) -> None:
    with_old_system(project).execute(f"CREATE SCHEMA alembic AUTHORIZATION {role}")
    as_role = replace(project, target=project.target.set(username=role))
    assert adopted(as_role).after == "r2"
    assert not adopted(as_role).written


@pytest.mark.soak
def test_plain_alembic_tells_a_role_that_may_not_look_what_it_lacks(
    chain: Project, role: str, alembic: Alembic
) -> None:
    chain.apply()
    url = chain.target.set(username=role).render_as_string(hide_password=False)
    told = alembic.run("current", code=255, MONARCH_DATABASE_URL=url)
    assert "permission denied for schema alembic" in told
    assert "MONARCH_DATABASE_URL name a role that may" in told


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("GRANT CREATE ON DATABASE {database} TO {role}", "must be owner of table kept.*ALTER … OWNER TO"),
        ("ALTER ROLE {role} SET default_transaction_read_only = on", "read-only transaction.*a standby, or"),
    ],
    ids=["not the owner", "read-only"],
)
def test_what_a_role_may_not_do_to_the_schema_is_told_with_what_to_do(
    project: Project, role: str, statement: str, told: str
) -> None:
    project.execute(f"CREATE SCHEMA s; CREATE TABLE s.kept (x text); GRANT USAGE ON SCHEMA s TO {role}")
    project.execute(statement.format(role=role, database=project.target.database))
    write_chain(project, ("ALTER TABLE s.kept ADD y int", "ALTER TABLE s.kept DROP y"))
    (project.sources.schema_dir / "shadow.sql").write_text("CREATE SCHEMA s; CREATE TABLE s.kept (x text)")
    with pytest.raises(MonarchError) as caught:
        replace(project, target=project.target.set(username=role), trusting=True).apply()
    assert re.search(told, str(caught.value), re.DOTALL), str(caught.value)
