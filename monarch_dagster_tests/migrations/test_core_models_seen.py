"""Whatever core models look at when they are imported, a change of it is seen by the next command."""

from __future__ import annotations

import pytest

from monarch_dagster_tests.support import SMALL_MODELS, Project

HALF_SEEN = """
import os
from pathlib import Path
try:
    from local_models import NAMES
except ImportError:
    NAMES = []
here = Path(__file__).parent
if (here / "names.txt").exists():
    NAMES = [*NAMES, *(here / "names.txt").read_text().split()]
NAMES += sorted(path.stem for path in here.glob("tenants/*.txt"))
NAMES += sorted(name.lower() for name in os.environ if name.startswith("TENANT_"))
for name in NAMES:
    Note.__table__.append_column(Column(name, Text))
"""


def test_whatever_the_models_look_at_is_seen(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write_models(SMALL_MODELS + HALF_SEEN)

    def added() -> set[str]:
        return {change.aspect.removeprefix("column ") for change in project.generate(dry_run=True).changes}

    project.generate()
    assert added() == set()
    (project.root / "local_models.py").write_text("NAMES = ['local']")
    assert added() == {"local"}
    (project.root / "names.txt").write_text("filed")
    assert added() == {"local", "filed"}
    (project.root / "tenants").mkdir()
    (project.root / "tenants" / "acme.txt").write_text("")
    assert added() == {"local", "filed", "acme"}
    monkeypatch.setenv("TENANT_ONE", "x")
    assert added() == {"local", "filed", "acme", "tenant_one"}
    (project.root / ".env").write_text("TENANT_TWO=x\n")
    assert added() == {"local", "filed", "acme", "tenant_one", "tenant_two"}
