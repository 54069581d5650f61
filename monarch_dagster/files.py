"""Replacing a file whole (DESIGN rule 10). What is in the file is the caller's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from monarch_dagster.errors import MonarchError


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader, or a crash, finds the old file or the new one, never a part.

    A symbolic link stays one: what it leads to is replaced. Raises `MonarchError` when the folder cannot be written or
    the disk is full; the old file is then untouched.
    """
    path, temporary = Path(os.path.realpath(path)), ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(descriptor, "wb") as file:
            # mkstemp makes it private; a file that is committed has the mode that the umask gives.
            os.fchmod(descriptor, 0o666 & ~_umask())
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
        temporary = ""
    except OSError as error:
        raise MonarchError(
            f"{path} could not be written: {error.strerror or error}. Nothing was changed.",
            remedy="Free space on the disk, or make the folder writable, then run again.",
        ) from None
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    umask = os.umask(0o022)
    os.umask(umask)
    return umask
