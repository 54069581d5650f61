"""What took long to find out is kept by all that it depends on, and may be gone at any time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from monarch_dagster import memo as module
from monarch_dagster.memo import KEPT, Memo


def test_what_was_put_is_there_for_its_kind_and_whole_key_and_for_no_other(tmp_path: Path) -> None:
    memo = Memo(tmp_path / "memo")
    memo.put("facts", "18", "a", value={"x": ["y", None, 1]})
    assert memo.get("facts", "18", "a") == {"x": ["y", None, 1]}
    for kind, *key in [("facts", "18a"), ("facts", "18", "b"), ("fact", "s", "18", "a"), ("facts", "1", "8a")]:
        assert memo.get(kind, *key) is None


def test_another_version_of_a_package_or_of_this_code_knows_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memo = Memo(tmp_path)
    memo.put("facts", "a", value=1)
    monkeypatch.setattr(module, "_versions", lambda: ("sqlalchemy 99",))
    assert memo.get("facts", "a") is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"1"])
def test_one_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    memo = Memo(tmp_path)
    memo.put("facts", "a", value=1)
    next(tmp_path.iterdir()).write_bytes(content)
    assert memo.get("facts", "a") is None
    memo.put("facts", "a", value=2)
    assert memo.get("facts", "a") == 2


def test_where_nothing_can_be_written_nothing_is_kept_and_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "memo").write_text("a file in its place")
    memo = Memo(tmp_path / "memo")
    memo.put("facts", "a", value=1)
    assert memo.get("facts", "a") is None
    Memo().put("facts", "a", value=1)
    assert Memo().get("facts", "a") is None


def test_of_each_kind_the_ones_used_last_stay(tmp_path: Path) -> None:
    memo = Memo(tmp_path)
    memo.put("other", "a", value=1)
    for number in range(KEPT + 3):
        memo.put("facts", str(number), value=number)
        for age, path in enumerate(sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)):
            os.utime(path, (age, age))
        assert memo.get("facts", "0") == 0
    assert len(list(tmp_path.glob("facts-*"))) == KEPT
    assert memo.get("facts", "1") is None
    assert memo.get("other", "a") == 1
