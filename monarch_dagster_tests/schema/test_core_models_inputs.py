"""Core models are imported again when anything that their import looked at has changed, and not otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from monarch_dagster.memo import Memo
from monarch_dagster.schema import core_models
from monarch_dagster.schema.core_models import fingerprint, load_core_models

MODELS = """
import json, os
from pathlib import Path
from sqlalchemy import Column, Integer, MetaData, Table
from helpers.names import PREFIX
metadata = MetaData()
here = Path(__file__).parent
names = json.loads((here / "names.json").read_text())
names += sorted(path.stem for path in (here / "more").iterdir())
for name in names:
    Table(PREFIX + name + os.environ.get("CLIENT_SUFFIX", ""), metadata, Column("id", Integer), schema="s")
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "__init__.py").write_text(MODELS)
    (tmp_path / "client" / "names.json").write_text('["one"]')
    (tmp_path / "client" / "more").mkdir()
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "names.py").write_text("PREFIX = 't_'")
    return tmp_path


def declared(root: Path) -> list[str]:
    memo = Memo(root.with_name("memo"))
    found = sorted(load_core_models("client", root, memo).metadata.tables)
    assert found == sorted(load_core_models("client", root, Memo()).metadata.tables)
    return found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: (root / "client" / "names.json").write_text('["two"]'), ["s.t_two"]),
        (lambda root: (root / "client" / "more" / "three").write_text(""), ["s.t_one", "s.t_three"]),
        (lambda root: (root / "helpers" / "names.py").write_text("PREFIX = 'u_'"), ["s.u_one"]),
        (
            lambda root: (root / "client" / "added.py").write_text(
                "from client import *\nTable('x', metadata, Column('id', Integer), schema='s')"
            ),
            ["s.t_one", "s.x"],
        ),
    ],
    ids=["a file that it reads", "a folder that it lists", "a module beside it", "a module in it"],
)
def test_a_change_of_what_the_import_looks_at_is_seen(
    root: Path, change: Callable[[Path], object], expected: list[str]
) -> None:
    assert declared(root) == ["s.t_one"]
    change(root)
    assert declared(root) == expected


def test_a_variable_that_the_import_asks_for_is_seen(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert declared(root) == ["s.t_one"]
    monkeypatch.setenv("CLIENT_SUFFIX", "_x")
    assert declared(root) == ["s.t_one_x"]
    monkeypatch.delenv("CLIENT_SUFFIX")
    assert declared(root) == ["s.t_one"]


def test_nothing_is_imported_again_where_nothing_has_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = Memo(root.with_name("memo"))
    assert fingerprint("client", root, memo) == ""
    first = load_core_models("client", root, memo)
    known = fingerprint("client", root, memo)
    monkeypatch.setattr(core_models, "_import_elsewhere", None)
    monkeypatch.setenv("SOMETHING_ELSE", "x")
    again = load_core_models("client", root, memo)
    assert sorted(again.metadata.tables) == sorted(first.metadata.tables) == ["s.t_one"]
    assert fingerprint("client", root, memo) == known != ""


def test_no_value_of_a_variable_is_written_down(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SUFFIX", "_s3cr3t")
    memo = Memo(root.with_name("memo"))
    load_core_models("client", root, memo)
    inputs = memo.get(core_models.KIND, *core_models._key("client", root))[0]
    assert "CLIENT_SUFFIX" in inputs["variable"]
    assert "s3cr3t" not in str(inputs)
