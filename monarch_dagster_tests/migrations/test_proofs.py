"""A proof is demanded before a revision is applied, kept, and void as soon as anything it rests on is another one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.apply import ApplyResult, apply_revisions
from monarch_dagster.migrations.proofs import Prover
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.support import Alembic, sql, write_revision
from monarch_dagster_tests.support import SMALL_MODELS, Project

INDEX = (sql("CREATE FUNCTION landing.f() RETURNS int LANGUAGE sql RETURN 1"), sql("DROP FUNCTION landing.f"))
# Nobody listens there.
NO_SHADOW = "postgresql://nobody@127.0.0.1:9/postgres"


@dataclass(frozen=True)
class CountingServer(ShadowServer):
    """The server for shadows, which counts the databases that it is asked for."""

    clones: list[str | None] = field(default_factory=list)

    @contextmanager
    def clone(self, key: str | None) -> Iterator[URL]:
        """Count, and give a clone as ever."""
        self.clones.append(key)
        with super().clone(key) as url:
            yield url


def no_shadow() -> ShadowServer:
    """Stand for a server that cannot be had."""
    raise MonarchError("The server is away.", remedy="Start it.")


def apply(project: Project, shadows: Callable[[], ShadowServer], **options: object) -> ApplyResult:
    prover = Prover(project.sources, shadows, project.prover.proofs)
    return apply_revisions(project.chain(), project.target, prover, **options)


@pytest.fixture
def counted(project: Project) -> Project:
    """The project, on a server that counts."""
    return replace(project, shadows=CountingServer(project.shadows.url, owned=True))


def clones(project: Project) -> int:
    """Return how many databases were asked for since the last time."""
    assert isinstance(project.shadows, CountingServer)
    count = len(project.shadows.clones)
    project.shadows.clones.clear()
    return count


def kept(project: Project) -> list[bool]:
    chain, major = project.chain(), project.shadows.major
    return [project.prover.proofs.holds(chain, item.revision, major) for item in chain.revisions]


def by_hand(project: Project) -> Path:
    """Write a revision `hand` behind the head that adds a function."""
    return write_revision(project.versions, "hand", project.chain().head, up=INDEX[0], back=INDEX[1])


def test_what_was_generated_here_is_applied_without_a_shadow(counted: Project) -> None:
    counted.write_models(SMALL_MODELS)
    counted.generate()
    counted.write_models(SMALL_MODELS + "    kind: Mapped[str] = mapped_column(String(9), index=True, unique=True)\n")
    counted.generate()
    assert len(kept(counted)) > 2
    assert all(kept(counted))
    clones(counted)
    head = counted.chain().head
    result = apply(counted, lambda: counted.shadows)
    assert (result.after, result.unproved, clones(counted)) == (head, (), 0)
    counted.revert("base")
    assert apply(counted, no_shadow).after == head


def test_what_was_written_by_hand_is_proved_once_and_then_known(counted: Project) -> None:
    counted.generate()
    by_hand(counted)
    clones(counted)
    assert kept(counted) == [True, False]
    assert counted.apply().unproved == ()
    assert clones(counted) > 0
    assert kept(counted) == [True, True]
    counted.revert("base")
    counted.apply()
    assert clones(counted) == 0


def test_what_was_pulled_from_git_is_proved_before_it_runs(counted: Project) -> None:
    counted.generate()
    shutil.rmtree(counted.root / ".monarch")
    clones(counted)
    with pytest.raises(MonarchError, match="cannot be proved before it is applied"):
        apply(counted, no_shadow)
    counted.apply()
    assert clones(counted) > 0
    assert kept(counted) == [True]


def test_an_empty_revision_that_nobody_filled_in_is_not_applied(project: Project) -> None:
    first = project.generate().head
    project.generate(empty=True, message="later")
    assert kept(project) == [True, False]
    with pytest.raises(MonarchError, match=r"_later\.py does nothing yet; nothing was applied"):
        project.apply()
    assert project.facts().relations == {}
    assert project.apply(to=str(first)).after == first


def test_only_what_is_to_run_is_proved(counted: Project) -> None:
    first = counted.generate().head
    write_revision(counted.versions, "bad", first, up=sql("SELECT 1 / 0"))
    clones(counted)
    assert counted.apply(to=str(first)).after == first
    assert clones(counted) == 0
    # A dry run runs nothing.
    assert "SELECT 1 / 0" in apply(counted, no_shadow, dry_run=True).sql


@pytest.mark.parametrize(
    "change",
    [
        lambda project: (project.sources.schema_dir / "shadow.sql").write_text("SELECT 1"),
        pytest.param(lambda project: append(project, 0), marks=pytest.mark.soak),
        lambda project: append(project, -1),
    ],
    ids=["shadow.sql", "an earlier file", "the file itself"],
)
def test_a_proof_is_void_when_what_it_was_made_with_is_another(
    project: Project, change: Callable[[Project], object]
) -> None:
    project.generate()
    by_hand(project)
    project.apply()
    project.revert("base")
    assert kept(project) == [True, True]
    change(project)
    assert kept(project)[-1] is False
    with pytest.raises(MonarchError, match="hand"):
        apply(project, no_shadow)
    project.apply()
    assert kept(project) == [True, True]


def append(project: Project, number: int) -> None:
    """Add a comment to a revision file."""
    path = project.chain().revisions[number].path
    path.write_text(path.read_text() + "\n# Read twice.\n")


def test_a_proof_is_void_with_another_version_of_the_package_or_the_server(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = str(project.generate().head)
    proofs, chain = project.prover.proofs, project.chain()
    assert proofs.holds(chain, head, project.shadows.major)
    assert not proofs.holds(chain, head, project.shadows.major - 2)
    assert proofs.holds(chain, head, None)
    monkeypatch.setattr("monarch_dagster.migrations.proofs.version", lambda _name: "9.9.9")
    assert not proofs.holds(chain, head, None)


def test_where_no_shadow_can_be_had_a_revision_runs_only_by_name_and_the_result_says_so(project: Project) -> None:
    first = project.generate().head
    by_hand(project)
    with pytest.raises(MonarchError) as caught:
        apply(project, no_shadow)
    assert caught.value.message == (
        "hand cannot be proved before it is applied: no shadow database can be had. The server is away."
    )
    assert caught.value.remedy == "Start it. Or name what may run without a proof: --allow-unproved hand."
    assert project.facts().relations == {}
    with pytest.raises(MonarchError, match="hand cannot be proved"):
        apply(project, no_shadow, allow_unproved=[str(first)])
    result = apply(project, no_shadow, allow_unproved=["base:head"])
    assert (result.after, result.unproved) == ("hand", ("hand",))
    assert kept(project) == [True, False]


@pytest.mark.soak
def test_the_command_says_how_to_go_on_without_a_shadow(project: Project) -> None:
    project.generate()
    by_hand(project)
    refused = project.monarch("run-migrations", code=1, MONARCH_SHADOW_URL=NO_SHADOW)
    assert "--allow-unproved hand" in " ".join(refused.stderr.split())
    project.monarch("run-migrations", "--allow-unproved", "hand", MONARCH_SHADOW_URL=NO_SHADOW)
    assert project.execute("SELECT version_num FROM alembic.alembic_version") == [("hand",)]


def test_a_proof_that_cannot_be_kept_is_a_warning_and_is_made_again(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    (project.root / ".monarch").write_text("in the way")
    project.generate()
    assert "is not kept" in caplog.text
    caplog.clear()
    assert project.apply().unproved == ()
    assert "is not kept" in caplog.text


@pytest.mark.soak
def test_plain_alembic_proves_what_has_no_proof_before_it_applies_it(project: Project, alembic: Alembic) -> None:
    first = str(project.generate().head)
    path = by_hand(project)
    good = path.read_text()
    path.write_text(good.replace(INDEX[1], "pass"))
    refused = alembic.run("upgrade", "head", code=255)
    assert f"{path.name} does not restore what was before" in refused
    assert project.facts().relations == {}
    path.write_text(good)
    alembic.run("upgrade", first)
    assert kept(project) == [True, False]
    alembic.run("upgrade", "head")
    assert kept(project) == [True, True]
    assert "function landing.f()" in project.facts().relations


@pytest.mark.soak
def test_plain_alembic_goes_without_a_proof_where_it_is_named(project: Project, alembic: Alembic) -> None:
    project.generate()
    by_hand(project)
    refused = alembic.run("upgrade", "head", code=255, MONARCH_SHADOW_URL=NO_SHADOW)
    assert "hand cannot be proved before it is applied" in refused
    assert project.facts().relations == {}
    alembic.run("-x", "allow_unproved=hand", "upgrade", "head", MONARCH_SHADOW_URL=NO_SHADOW)
    assert "function landing.f()" in project.facts().relations
