"""A real org as it was on each day of ten weeks, as folders that the sample org serves. No tests."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

ORG = "mid-org"
HISTORY = "mid-org-history"


class History:
    """The org's describes on the first day, and which of them each later day replaces."""

    def __init__(self, archives: Path, folder: Path, only: Collection[str] = ()) -> None:
        """Unpack the archives below `folder`, and take the org's objects (or `only` those) as they were on day one."""
        for name in (ORG, HISTORY):
            with tarfile.open(archives / f"{name}.tar.xz") as archive:
                archive.extractall(folder, filter="data")
        self.served = folder / "served"
        self.served.mkdir()
        for path in (folder / ORG).glob("*.json"):
            if not only or path.stem in only:
                shutil.copy(path, self.served)
        # Within a day the last snapshot counts.
        self.days: dict[str, dict[str, Path]] = defaultdict(dict)
        for snapshots in (folder / HISTORY).iterdir():
            if only and snapshots.name not in only:
                continue
            first, *later = sorted(snapshots.glob("*.json"))
            shutil.copy(first, self._file(first))
            for path in later:
                day = "-".join(path.name.split("-")[1:4])
                self.days[day][snapshots.name] = path

    def __iter__(self) -> Iterator[str]:
        """Serve one day after the other, and give its date and the objects that differ."""
        for day, snapshots in sorted(self.days.items()):
            for path in snapshots.values():
                shutil.copy(path, self._file(path))
            yield day

    def _file(self, snapshot: Path) -> Path:
        return self.served / f"{json.loads(snapshot.read_text('utf-8-sig'))['name']}.json"
