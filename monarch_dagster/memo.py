"""What took long to find out, kept by all that it depends on: a memo.

A memo may be deleted at any time: it is found out again. What depends on what is said where something is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from monarch_dagster.errors import MonarchError
from monarch_dagster.files import replace_file
from monarch_dagster.memory import uncollected

log = logging.getLogger(__name__)

FOLDER = "memo"
# What these make of the same input may differ from version to version.
_PACKAGES = ("monarch-dagster", "sqlalchemy", "alembic")
# The newest ones of a kind that stay; one of a large org is some megabytes.
KEPT = 24
_KEY_LENGTH = 32


@dataclass(frozen=True)
class Memo:
    """The memos in one folder; without a folder nothing is kept."""

    folder: Path | None = None

    def get(self, kind: str, *key: str) -> Any:
        """Return what is kept of a kind for a key, None where nothing is or it cannot be read."""
        if self.folder is None:
            return None
        path = self._path(kind, key)
        try:
            content = path.read_bytes()
            os.utime(path)  # what is used stays
            check, _, value = content.partition(b"\n")
            with uncollected():
                return json.loads(value) if check == _check(value) else None
        except (OSError, ValueError):
            return None

    def put(self, kind: str, *key: str, value: Any) -> None:
        """Keep a value that JSON can hold. A folder that cannot be written costs time the next time, and no more."""
        if self.folder is None:
            return
        try:
            content = json.dumps(value).encode()
            replace_file(self._path(kind, key), _check(content) + b"\n" + content, durable=False)
        except MonarchError as error:
            log.debug("Not kept: %s", error.message)
            return
        with suppress(OSError):
            found = sorted(self.folder.glob(f"{kind}-*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in found[KEPT:]:
                path.unlink(missing_ok=True)

    def _path(self, kind: str, key: tuple[str, ...]) -> Path:
        assert self.folder is not None
        said = json.dumps([kind, *_versions(), *key]).encode()
        return self.folder / f"{kind}-{hashlib.sha256(said).hexdigest()[:_KEY_LENGTH]}.json"


def _check(content: bytes) -> bytes:
    # A file that is another one's, or a part of it, may be valid JSON too.
    return b"%08x" % zlib.crc32(content)


@cache
def _versions() -> tuple[str, ...]:
    return (*(f"{name} {version(name)}" for name in _PACKAGES), _own_code())


def _own_code() -> str:
    """Return a hash of this package's code: in a checkout it changes without its version."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
