"""Transcribing: finding out what a generated revision sends to PostgreSQL, once for each content of its file.

What a person edited has no transcript and runs as Alembic runs it: it may ask the database, or Python, what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from monarch_dagster.errors import MonarchError
from monarch_dagster.memo import Memo
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.data_loss import leaves_transaction
from monarch_dagster.migrations.options import Options
from monarch_dagster.migrations.revisions import Revision, check_unchanged
from monarch_dagster.migrations.scripts import STUB, script_folder, stacked
from monarch_dagster.migrations.transcript import Transcript

KIND = "transcript"


@contextmanager
def transcribed(
    directory: Path, base: str | None, items: Sequence[Revision], options: Options, memo: Memo
) -> Iterator[tuple[list[Path], Options]]:
    """Give the folders and options with which `runner` upgrades from `base` by `items`, the next ones in `directory`.

    Where all of them have transcripts, which are kept in `memo`, none of their files is loaded. Raises `MonarchError`
    where one was changed since it was read.
    """
    check_unchanged(items)
    contents = {item.revision: item.path.read_bytes() for item in items}
    found = {item.revision: transcript(item, contents[item.revision].decode(), memo) for item in items}
    transcripts = {revision: known for revision, known in found.items() if known is not None}
    options = replace(options, transcripts=transcripts)
    if len(transcripts) < len(items):
        yield [directory], options
        return
    with script_folder(stacked(base, [(item.revision, STUB) for item in items])) as folders:
        yield folders, replace(options, originals=contents)


def transcript(item: Revision, text: str, memo: Memo) -> Transcript | None:
    """Return the transcript of a revision, None where Alembic is to run it; `text` is what `item` was read from."""
    if item.edited or item.empty or not _can_be_transcribed(text):
        return None
    if (kept := memo.get(KIND, item.digest)) is not None:
        return Transcript(text, *map(tuple, kept))
    try:
        found = Transcript(text, runner.statements(text, "upgrade"), runner.statements(text, "downgrade"))
    except MonarchError:
        return None  # run by Alembic, it tells what is wrong
    memo.put(KIND, item.digest, value=[found.upgrade, found.downgrade])
    return found


def _can_be_transcribed(text: str) -> bool:
    # Alembic writes spaces for tabs where it writes SQL instead of sending it.
    has_tab = "\t" in text or "\\t" in text
    return not (has_tab or any(leaves_transaction(text, is_upgrade=way) for way in (True, False)))
