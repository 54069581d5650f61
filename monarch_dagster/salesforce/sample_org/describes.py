"""Describes from a folder of JSON files, for `monarch sample-org --describes DIR`.

Reading, and the rules for what a file is; `server` serves the result. The files are other people's recordings, so what
is merely unusual is accepted (a byte-order mark, the envelope of `sf sobject describe --json`, fields without `type`)
and only what cannot be a describe is refused.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.sample_org.describe import Describe

FOLDER_ORG_ID = "00DDESCRIBES00125D"
"""The `Organization` id of an org served from a folder."""

_log = logging.getLogger(__name__)
_REMEDY = "Give a folder with one JSON file per object, each as GET …/sobjects/NAME/describe answers."

Fingerprint = tuple[int, int, int, int]
"""What tells that a file's content may have changed: inode, size, time of content, time of status."""


def load_describes(directory: Path) -> dict[str, Describe]:
    """Read every describe of a folder.

    Files whose name starts with `_` or that hold a describeGlobal are left out. A describe without `name` takes the
    file's name up to the first dot. Of several files for one object the one named like the object is taken, else the
    first by name; the others are logged as warnings.

    Args:
        directory: holds one JSON file per object; folders below it are not read.

    Returns:
        The describes by object name, sorted by name.

    Raises:
        MonarchError: the folder is missing or holds no describe, or a file is no describe; the message names it.
    """
    return dict(DescribeFolder(directory).describes())


class DescribeFolder:
    """A folder of describes as a source that follows edits: files that changed are read again when asked."""

    organization_id = FOLDER_ORG_ID

    def __init__(self, directory: Path) -> None:
        """Take the folder; nothing is read until `describes` is called."""
        self._directory = directory
        self._fingerprints: dict[str, Fingerprint] = {}
        self._read: dict[str, Describe | None] = {}
        self._describes: Mapping[str, Describe] = {}

    def describes(self) -> Mapping[str, Describe]:
        """Return the describes as the files are now; the very same mapping while no file changed.

        Raises:
            MonarchError: as `load_describes`.
        """
        fingerprints = _fingerprints(self._directory)
        if fingerprints != self._fingerprints or not self._describes:
            read = {
                file: self._read[file]
                if self._fingerprints.get(file) == fingerprint
                else _read_describe(self._directory / file)
                for file, fingerprint in fingerprints.items()
            }
            self._describes = _choose(self._directory, read)
            self._read, self._fingerprints = read, fingerprints
        return self._describes


def _fingerprints(directory: Path) -> dict[str, Fingerprint]:
    """Return the fingerprint of each candidate file by its name; asked on every call, so nothing here is slow."""
    try:
        with os.scandir(directory) as entries:
            files = [entry for entry in entries if entry.name.endswith(".json") and not entry.name.startswith("_")]
            stats = {entry.name: entry.stat() for entry in files if entry.is_file()}
    except OSError as error:
        raise MonarchError(f"Cannot read the describes in {directory}: {error.strerror}.", remedy=_REMEDY) from error
    return {
        name: (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in sorted(stats.items())
    }


def _read_describe(path: Path) -> Describe | None:
    """Return the describe that a file holds, None for a describeGlobal."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise MonarchError(f"Cannot read {path}: {error.strerror}.", remedy=_REMEDY) from error
    except (ValueError, RecursionError) as error:
        raise MonarchError(f"{path} is not JSON: {error}.", remedy="Repair the file or take it away.") from error
    if isinstance(content, dict) and isinstance(content.get("result"), dict):
        content = content["result"]
    if isinstance(content, dict) and "sobjects" in content:
        return None
    if not (isinstance(content, dict) and _is_field_list(content.get("fields"))):
        raise MonarchError(
            f"{path} is not a describe: expected an object with a list `fields` of objects that have a `name`.",
            remedy="Take the file away, or start its name with `_` to have it left out.",
        )
    name = content.setdefault("name", path.name.split(".")[0])
    if not (isinstance(name, str) and name):
        raise MonarchError(f"{path} is not a describe: its `name` is not a text.", remedy="Repair the `name`.")
    described: Describe = content
    return described


def _is_field_list(fields: object) -> bool:
    return isinstance(fields, list) and all(
        isinstance(field, dict) and isinstance(field.get("name"), str) for field in fields
    )


def _choose(directory: Path, read: Mapping[str, Describe | None]) -> dict[str, Describe]:
    candidates: dict[str, dict[str, Describe]] = {}
    for file, described in read.items():
        if described is not None:
            candidates.setdefault(described["name"], {})[file] = described
    if not candidates:
        raise MonarchError(f"There is no describe in {directory}.", remedy=_REMEDY)
    chosen: dict[str, Describe] = {}
    for name, files in sorted(candidates.items()):
        taken = f"{name}.json" if f"{name}.json" in files else next(iter(files))
        chosen[name] = files.pop(taken)
        if files:
            _log.warning("%s describes %s; left out: %s", taken, name, ", ".join(files))
    return chosen
