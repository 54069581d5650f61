"""Shadows, servers and processes that go away while or before one generates: the same revision, or an error."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.generate import Proposal
from monarch_dagster.postgres.embedded import MEMORY_DIR, SHADOW_SETTINGS, EmbeddedCluster
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import CLONE_PREFIX, TEMPLATE_PREFIX, ShadowServer
from monarch_dagster_tests.migrations.broken import COLUMN, MORE, applies, files, ids, refused
from monarch_dagster_tests.support import SMALL_MODELS, Project


def moments(first: float, *others: float) -> list[Any]:
    """Return moments for a fault, in seconds; all but the first are for the long run."""
    return [first, *(pytest.param(moment, marks=pytest.mark.soak) for moment in others)]


def drop_shadows(shadows: ShadowServer, *, clones: bool = True) -> int:
    """Drop every template and every clone, whoever is connected; return how many there were."""
    with connect(shadows.url, autocommit=True) as connection:
        query = "SELECT datname FROM pg_database WHERE datname ^@ %s OR (datname ^@ %s AND %s)"
        names = connection.exec_driver_sql(query, (TEMPLATE_PREFIX, CLONE_PREFIX, clones)).scalars().all()
        for name in names:
            try:
                connection.exec_driver_sql(f'ALTER DATABASE "{name}" WITH is_template false')
                connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
            except Exception:  # noqa: BLE001 - it was renamed or dropped meanwhile
                continue
    return len(names)


def test_shadow_databases_dropped_in_between_are_made_again(grown: Project) -> None:
    assert drop_shadows(grown.shadows) > 0
    assert grown.generate().revisions == ()
    drop_shadows(grown.shadows)
    applies(grown)


@contextmanager
def dropping(shadows: ShadowServer, *, after: float, clones: bool) -> Iterator[None]:
    """Drop shadow databases once, some time after the start."""
    timer = threading.Timer(after, lambda: drop_shadows(shadows, clones=clones))
    timer.start()
    yield
    timer.join()


@pytest.mark.soak
@pytest.mark.parametrize("clones", [False, True], ids=["templates", "clones too"])
@pytest.mark.parametrize("after", moments(0.4, 0.1, 0.8))
def test_shadow_databases_dropped_while_generating_end_in_the_same_revision_or_in_an_error(
    grown: Project, after: float, clones: bool
) -> None:
    expected = ids(grown_more(grown, dry_run=True))
    before = files(grown)
    try:
        with dropping(grown.shadows, after=after, clones=clones):
            found = grown_more(grown)
    except MonarchError as error:
        assert error.remedy
        assert files(grown) == before
        found = grown_more(grown)
    assert ids(found) == expected
    assert grown.generate().revisions == ()


@pytest.mark.parametrize(
    "lost_by",
    [
        "mapped_column(Integer, CheckConstraint(\"{lost} OR ending IS NULL\", name='ends'))",
        'mapped_column(Boolean, nullable=False, server_default=text("{lost}"))',
    ],
    ids=["a check", "a default"],
)
def test_a_connection_lost_while_rows_are_put_in_is_an_error(project: Project, lost_by: str) -> None:
    column = f"    ending: Mapped[Any] = {lost_by.format(lost='pg_terminate_backend(pg_backend_pid())')}\n"
    project.write_models(SMALL_MODELS + column)
    project.generate()
    project.write_models(MORE + column)
    refused(project, "went away")


def grown_more(project: Project, **options: bool) -> Proposal:
    project.write_models(MORE + COLUMN.replace("extra", "another"))
    return project.generate(**options)


@pytest.fixture
def own_cluster() -> Iterator[EmbeddedCluster]:
    """A cluster for shadows that no other test uses."""
    place = MEMORY_DIR if MEMORY_DIR.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="monarch-test-", dir=place, ignore_cleanup_errors=True) as folder:
        cluster = EmbeddedCluster(Path(folder) / "pg" / "data", SHADOW_SETTINGS)
        yield cluster
        cluster.remove()


def lose(cluster: EmbeddedCluster) -> None:
    """Do what a reboot does to a cluster in memory: its processes and its files are gone."""
    os.kill(int((cluster.data_dir / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    shutil.rmtree(cluster.data_dir.parent, ignore_errors=True)


@pytest.mark.soak
def test_the_shadow_cluster_gone_after_a_reboot_is_made_again(project: Project, own_cluster: EmbeddedCluster) -> None:
    here = replace(project, shadows=ShadowServer(own_cluster.url("postgres"), owned=True))
    here.write_models(SMALL_MODELS)
    head = here.generate().head
    lose(own_cluster)
    # Whoever still has the old address is told that nobody is there.
    refused(here, "could not be opened")
    here = replace(here, shadows=ShadowServer(own_cluster.url("postgres"), owned=True))
    here.write_models(SMALL_MODELS)
    assert here.generate().revisions == ()
    here.write_models(MORE)
    (item,) = here.generate().revisions
    assert item.down_revision == head
    here.apply()
    assert "column extra" in here.facts().relations["table landing.note"]


@pytest.mark.parametrize("after", moments(0.5, 0.2, 0.8, 1.1))
def test_the_shadow_cluster_lost_while_generating_ends_in_an_error_or_in_the_right_file(
    project: Project, own_cluster: EmbeddedCluster, after: float
) -> None:
    here = replace(project, shadows=ShadowServer(own_cluster.url("postgres"), owned=True))
    here.write_models(SMALL_MODELS)
    expected = ids(here.generate(dry_run=True))
    timer = threading.Timer(after, lambda: lose(own_cluster))
    timer.start()
    try:
        found = ids(here.generate())
    except MonarchError as error:
        assert error.remedy
        assert not any(path.suffix == ".py" for path in files(here))
        found = expected
    timer.join()
    assert found == expected


def test_proofs_deleted_in_between_are_made_again(grown: Project) -> None:
    shutil.rmtree(grown.root / ".monarch")
    assert grown.generate().revisions == ()
    applies(grown)
    assert len(list((grown.root / ".monarch" / "proofs").iterdir())) == 3


def all_at_once(*jobs: Callable[[], Proposal]) -> Sequence[Proposal | Exception]:
    found: dict[int, Proposal | Exception] = {}

    def run(number: int, job: Callable[[], Proposal]) -> None:
        try:
            found[number] = job()
        except Exception as error:  # noqa: BLE001
            found[number] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return [found[number] for number in range(len(jobs))]


def test_of_two_generations_at_once_one_writes_the_file_and_the_other_finds_nothing_to_do(project: Project) -> None:
    found = all_at_once(project.generate, project.generate)
    assert sorted(len(item.revisions) for item in found if isinstance(item, Proposal)) == [0, 1]
    assert len(list(project.versions.iterdir())) == 1
    assert project.generate().revisions == ()


@pytest.mark.soak
def test_two_commands_at_once_leave_one_file(project: Project) -> None:
    command = [sys.executable, "-m", "monarch_dagster", "generate-migrations"]
    running = [
        subprocess.Popen(command, cwd=project.root, env=project.environment(), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in running:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    assert len([path for path in project.versions.iterdir() if path.suffix == ".py"]) == 1
    assert project.generate().revisions == ()


@pytest.mark.soak
@pytest.mark.parametrize("after", moments(1.6, 0.8, 1.2, 2.0, 2.4))
def test_a_generation_that_is_killed_leaves_a_whole_file_or_none(project: Project, after: float) -> None:
    expected = ids(project.generate(dry_run=True))
    command = [sys.executable, "-m", "monarch_dagster", "generate-migrations"]
    with subprocess.Popen(command, cwd=project.root, env=project.environment(), stderr=subprocess.DEVNULL) as running:
        time.sleep(after)
        running.kill()
    found = [item.revision for item in project.chain().revisions]
    assert found in ([], expected)
    assert [*found, *ids(project.generate())] == expected
    assert project.apply().after == expected[-1]
