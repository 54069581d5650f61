"""Same inputs, same revision (DESIGN rule 5)."""

import json
import subprocess
import sys
from pathlib import Path

from monarch_dagster.migrations.coverage import coverage
from monarch_dagster.migrations.generate import Proposal
from monarch_dagster.migrations.revisions import file_name, revision_id
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.support import MODELS_HEADER, Project, account

MODELS = """
class Batch(Base):
    __tablename__ = "batch"
    __table_args__ = {"schema": "landing"}
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    last_record_id: Mapped[int | None] = mapped_column(ForeignKey("landing.record.id"))

class Record(Base):
    __tablename__ = "record"
    __table_args__ = (UniqueConstraint("batch_id", "number"), {"schema": "landing"})
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("landing.batch.id"), index=True)
    number: Mapped[int] = mapped_column(Integer, index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("landing.record.id"))

class Note(Base):
    __tablename__ = "note"
    __table_args__ = {"schema": "staging"}
    id: Mapped[int] = mapped_column(ForeignKey("landing.record.id"), primary_key=True)
"""
# A clone of one repository in another folder, generated in a fresh process.
PROGRAM = """
import json, sys
from pathlib import Path
from sqlalchemy import make_url
from monarch_dagster.migrations.generate import propose
from monarch_dagster.migrations.proofs import Proofs
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.desired import Sources

root, url = Path(sys.argv[1]), make_url(sys.argv[2])
sources = Sources(root, root / "schema", "client_models", "salesforce")
found = propose(sources, ShadowServer(url, owned=True), Proofs(root / "proofs"), message="m")
print(json.dumps([[item.revision, item.text, item.path.name] for item in found.revisions]))
"""


def test_one_change_generated_in_two_clones_is_one_revision_byte_for_byte(
    tmp_path: Path, shadows: ShadowServer
) -> None:
    found = []
    for name, seed, zone in (("one", "1", "Pacific/Kiritimati"), ("two", "4711", "America/Los_Angeles")):
        root = tmp_path / name
        root.mkdir()
        (root / "client_models.py").write_text(MODELS_HEADER + MODELS)
        url = shadows.url.render_as_string(hide_password=False)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(root), url],
            env={"PYTHONHASHSEED": seed, "TZ": zone, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout)[0])
    assert found[0][:2] == found[1][:2]
    # Both dates are in UTC, so they differ at most by the minute that passed.
    assert found[0][2][:10] == found[1][2][:10]


def test_adding_dropping_and_adding_a_column_makes_three_revisions_that_apply_and_revert(project: Project) -> None:
    heads = []
    project.write_meta(account())
    project.generate()
    for fields in ({"Tier__c": {"type": "double", "precision": 18, "scale": 2}}, {}) * 2:
        project.write_meta(account(**fields))
        heads.append(project.generate(message="tier").head)
        if len(heads) == 3:
            break
    assert len(set(heads)) == 3
    result = project.apply()
    assert [item.revision for item in result.applied][1:] == heads
    assert "column tier__c" in project.facts().relations["table salesforce.account"]
    project.revert("base")
    assert project.facts().relations == {}


def test_a_proposal_that_was_written_is_what_the_next_command_starts_from(project: Project) -> None:
    def has_template() -> bool:
        from monarch_dagster.migrations.replay import _key

        chain = project.chain()
        return project.shadows.has_template(_key("", chain, chain.head))

    project.generate()
    assert has_template()
    assert coverage(project.sources, project.shadows).covered


def test_the_id_depends_on_the_revision_below_and_on_both_directions_only() -> None:
    ids = {
        revision_id("a", "up", "down"),
        revision_id("b", "up", "down"),
        revision_id(None, "up", "down"),
        revision_id("a", "up2", "down"),
        revision_id("a", "up", "down2"),
        revision_id("a", "updown", ""),
    }
    assert len(ids) == 6
    assert all(len(item) == 12 for item in ids)


def test_the_file_name_carries_the_date_the_id_and_what_is_harmless_of_the_message() -> None:
    from datetime import UTC, datetime

    now = datetime(2025, 5, 5, 15, 15, tzinfo=UTC)
    assert file_name("8ae0a8ff3e29", "", now) == "2025_05_05_1515-8ae0a8ff3e29_.py"
    assert file_name("8ae0a8ff3e29", "../../Add: “Tier”!", now) == "2025_05_05_1515-8ae0a8ff3e29_add_tier.py"
    assert len(file_name("8ae0a8ff3e29", "x" * 500, now)) < 100


def test_a_dry_run_proves_and_shows_the_revision_but_writes_nothing(project: Project) -> None:
    shown = project.generate(message="first", dry_run=True)
    assert "CREATE TABLE landing.note" in shown.revisions[0].upgrade_sql
    assert not project.sources.schema_dir.exists()
    assert _ids(project.generate(message="first")) == _ids(shown)


def test_two_empty_revisions_behind_one_head_differ_by_their_message(project: Project) -> None:
    first, second = (project.generate(message=message, empty=True, dry_run=True) for message in ("one", "two"))
    assert _ids(first) != _ids(second)


def _ids(proposal: Proposal) -> list[str]:
    return [item.revision for item in proposal.revisions]
