"""The corpus of transitions: each converges and comes back, or is refused by name; so do random pairs of schemas."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.embedded import MEMORY_DIR, SHADOW_SETTINGS, EmbeddedCluster
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.corpus import ALL, BY_KIND
from monarch_dagster_tests.migrations.corpus.declare import HEADER
from monarch_dagster_tests.migrations.corpus.drawn import bodies
from monarch_dagster_tests.migrations.corpus.transition import Transition, run, wanted_facts, write
from monarch_dagster_tests.support import MODELS_HEADER, Project

# A few of each kind, for the ordinary run; the rest is soak.
SAMPLE: Final = (
    "Text becomes Integer with a default, a check, an index and not null",
    "a label is put in between",
    "a column is renamed with all that is on it",
    "two tables that swap their names are refused",
)
# What has many steps, so that their order is most at risk.
SEEDED: Final = (
    "a cycle of three tables becomes one of two others",
    "ten kinds change at once",
    "a column is renamed with all that is on it",
    "several columns are added at once",
    "tables that refer to each other are dropped",
    "an enum that two tables use gets a label and loses one",
    "everything is dropped but one table",
)
# A clone of a repository in a fresh process: the change to each body in turn, and what came of them.
PROGRAM: Final = """
import json, sys
from pathlib import Path
from sqlalchemy import make_url
from monarch_dagster.migrations.generate import propose
from monarch_dagster.migrations.proofs import Proofs
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.desired import Sources

shadows, found = ShadowServer(make_url(sys.argv[1]), owned=True), []
for folder in sys.argv[2:]:
    root = Path(folder)
    sources = Sources(root, root / "schema", "client_models", "salesforce")
    for body in ("before", "after"):
        (root / "client_models.py").write_text((root / f"{body}.txt").read_text())
        proposal = propose(sources, shadows, Proofs(root / "proofs"), message="m")
        found += [[item.revision, item.text] for item in proposal.revisions]
print(json.dumps(found))
"""
RELATION: Final = re.compile(r"\b(landing|staging)\.")


@pytest.fixture(scope="session")
def server_16() -> Iterator[EmbeddedCluster]:
    """An embedded PostgreSQL 16 beside the 18 that `server` is."""
    place = MEMORY_DIR if MEMORY_DIR.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="monarch-test-", dir=place, ignore_cleanup_errors=True) as folder:
        cluster = EmbeddedCluster(Path(folder) / "pg" / "data", SHADOW_SETTINGS, major=16)
        yield cluster
        cluster.remove()


@pytest.fixture
def project_16(server_16: EmbeddedCluster, tmp_path: Path) -> Iterator[Project]:
    """A project whose target and shadows are on PostgreSQL 16."""
    with _project(server_16, tmp_path) as project:
        yield project


def test_the_corpus_names_each_transition_once_and_covers_every_kind() -> None:
    names = [case.name for case in ALL]
    assert len(set(names)) == len(names) >= 170
    assert all(len(cases) >= 8 for cases in BY_KIND.values())
    assert set(SAMPLE + SEEDED) <= set(names)


@pytest.mark.parametrize("case", [case for case in ALL if case.name in SAMPLE], ids=lambda case: case.name)
def test_a_transition_of_the_sample_converges_and_comes_back_or_is_refused(case: Transition, project: Project) -> None:
    run(case, project, declared_back=False)


@pytest.mark.soak
@pytest.mark.parametrize("case", [case for case in ALL if 18 in case.majors], ids=lambda case: case.name)
def test_every_transition_converges_both_ways_or_is_refused_on_18(case: Transition, project: Project) -> None:
    run(case, project)


@pytest.mark.soak
@pytest.mark.parametrize("case", [case for case in ALL if 16 in case.majors], ids=lambda case: case.name)
def test_every_transition_converges_both_ways_or_is_refused_on_16(case: Transition, project_16: Project) -> None:
    run(case, project_16)


@pytest.mark.soak
def test_a_change_is_one_and_the_same_revision_under_two_hash_seeds(tmp_path: Path, shadows: ShadowServer) -> None:
    _check_seeds(tmp_path, shadows, SEEDED[:1], range(2))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_change_is_one_and_the_same_revision_under_twenty_hash_seeds(tmp_path: Path, shadows: ShadowServer) -> None:
    _check_seeds(tmp_path, shadows, SEEDED, range(20))


@given(before=bodies(), after=bodies())
@settings(
    max_examples=1, derandomize=True, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_random_pairs_of_schemas_converge_or_are_refused(server: EmbeddedCluster, before: str, after: str) -> None:
    _check_pair(server, before, after)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@given(before=bodies(), after=bodies())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_many_random_pairs_of_schemas_converge_or_are_refused(server: EmbeddedCluster, before: str, after: str) -> None:
    _check_pair(server, before, after)


def _check_seeds(folder: Path, shadows: ShadowServer, names: Sequence[str], seeds: Sequence[int]) -> None:
    found = set()
    for seed in seeds:
        roots = []
        for number, case in enumerate(case for case in ALL if case.name in names):
            root = folder / f"{seed}-{number}"
            root.mkdir()
            for name, body in (("before", case.before), ("after", case.after)):
                (root / f"{name}.txt").write_text(MODELS_HEADER + HEADER + body)
            roots.append(str(root))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, shadows.url.render_as_string(hide_password=False), *roots],
            env={"PYTHONHASHSEED": str(seed), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)) >= 2 * len(names)
        found.add(done.stdout)
    assert len(found) == 1


def _check_pair(server: EmbeddedCluster, before: str, after: str) -> None:
    with tempfile.TemporaryDirectory(prefix="monarch-pair-") as folder, _project(server, Path(folder)) as project:
        write(project, before, None)
        below = project.generate().head
        assert below is not None
        project.apply()
        was = project.facts()
        assert was.declarable() == wanted_facts(project)
        write(project, after, None)
        files = sorted(project.versions.iterdir())
        try:
            proposal = project.generate()
        except MonarchError as error:
            assert RELATION.search(error.message), error.message
            assert sorted(project.versions.iterdir()) == files
            return
        assert project.generate().revisions == ()
        wanted = wanted_facts(project)
        assert bool(proposal.revisions) == (wanted != was.declarable())
        project.apply()
        now = project.facts()
        assert now.declarable() == wanted
        project.revert(below)
        assert project.facts() == was
        project.apply()
        assert project.facts() == now


@contextmanager
def _project(server: EmbeddedCluster, folder: Path) -> Iterator[Project]:
    name = f"target_{secrets.token_hex(6)}"
    yield Project(folder, server.url(name), ShadowServer(server.url("postgres"), owned=True), server.url("dagster"))
    with connect(server.url("postgres"), autocommit=True) as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
