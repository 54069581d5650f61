"""Replacing a file whole (DESIGN rule 10), and locking a folder. What is in the files is the caller's."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monarch_dagster.errors import MonarchError


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write `content` to `path` so that a reader, or a crash, finds the old file or the new one, never a part.

    A symbolic link stays one: what it leads to is replaced. What is not `durable` is not waited for, and may be gone
    after a crash of the machine. Raises `MonarchError` when the folder cannot be written or the disk is full; the old
    file is then untouched.
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
            if durable:
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


def delete_file(path: Path) -> None:
    """Delete a file; one that is gone is no error. Raises `MonarchError` where it cannot be deleted."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise MonarchError(
            f"{path} could not be deleted: {error.strerror}.",
            remedy="Make its folder writable, then run again: it goes on from there.",
        ) from None


@contextmanager
def folder_lock(folder: Path, *, write: bool) -> Iterator[None]:
    """Hold the lock of the schema folder; it is made where it is not there and `write` is set.

    The lock is on the folder itself, so no file of it can be committed by mistake. Raises `MonarchError` where the
    folder cannot be made.
    """
    try:
        if write:
            folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield  # nothing is there to be locked
        return
    except OSError as error:
        raise MonarchError(
            f"The schema folder {folder} cannot be used: {error.strerror}. Nothing was written.",
            remedy="Make it a folder that can be written, or set MONARCH_SCHEMA_DIR.",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _umask() -> int:
    umask = os.umask(0o022)
    os.umask(umask)
    return umask
