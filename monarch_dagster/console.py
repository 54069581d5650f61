"""What commands show: colours and progress for people on stderr, results on stdout. No decision is made here."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from monarch_dagster.errors import counted
from monarch_dagster.migrations.git_state import shown
from monarch_dagster.migrations.hazards import gravity, severity
from monarch_dagster.migrations.undeclared import remedy as declare_it

LOGGER = "monarch_dagster"
SHOWN_ROWS = 20
_WIDTH_OF_FILES = 240
# How a check says that something kept it from looking.
UNCHECKED = "could not be checked: "


class Terminal:
    """The command's terminal; made before anything redirects the standard streams."""

    def __init__(self) -> None:
        """Take the process's stdout and stderr as they are now."""
        self.out, self.err = (
            # Names in a file or a pipe are not broken to the width of a terminal that is none.
            Console(file=file, highlight=False, soft_wrap=True, width=None if file.isatty() else _WIDTH_OF_FILES)
            for file in (sys.stdout, sys.stderr)
        )

    def say(self, text: str, style: str = "") -> None:
        """Tell a person something, on stderr."""
        self.err.print(escape(text), style=style)

    def result(self, text: str) -> None:
        """Print a result as it is, on stdout."""
        self.out.print(text, markup=False)

    def json(self, value: Mapping[str, Any]) -> None:
        """Print one JSON object on stdout."""
        print(json.dumps(value, indent=2, default=str), file=self.out.file)

    def table(self, title: str, rows: Sequence[Mapping[str, Any]], *, style: str = "") -> None:
        """Print the first rows as a table on stdout, and how many more there are; nothing where there are none."""
        if not rows:
            return
        more = f"… and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else None
        table = Table(
            title=title, title_justify="left", title_style="bold", border_style="dim", style=style, caption=more
        )
        for name in rows[0]:
            table.add_column(name, overflow="fold")
        for row in rows[:SHOWN_ROWS]:
            table.add_row(*(escape(str(value)) for value in row.values()))
        self.out.print(table)

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Show Monarch's log records on stderr meanwhile, those of long work as a progress bar."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        logger = logging.getLogger(LOGGER)
        level = logger.level
        with Progress(*columns, console=self.err, transient=True, disable=not self.err.is_terminal) as progress:
            handler = _Handler(self, progress)
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            try:
                yield
            finally:
                logger.removeHandler(handler)
                logger.setLevel(level)


def show_checks(terminal: Terminal, checks: Mapping[str, Mapping[str, Any]]) -> None:
    """Show what each check found, and the remedy of those that failed."""
    told: set[str] = set()
    for name, outcome in checks.items():
        warned = outcome.get("severity") == "WARN"
        mark, style = ("✓", "green") if outcome["passed"] else ("!", "yellow") if warned else ("✗", "red")
        stored, expected = outcome["stored"], outcome["expected"]
        found = f"stored {stored}, expected {expected}"
        if stored.startswith(UNCHECKED):
            found = "could not be checked, see above" if stored in told else stored
        terminal.out.print(f"{mark} {name}: {stored if stored == expected else found}", style=style, markup=False)
        if not outcome["passed"] and stored not in told:
            terminal.say(f"  What to do: {outcome['remedy']}", "yellow")
        if stored.startswith(UNCHECKED):
            told.add(stored)


def show_status(terminal: Terminal, found: Mapping[str, Any]) -> None:
    """Show the object of `monarch status --json` for people, and the next step."""
    meta = found["object_meta"]
    heads = " and ".join(found["heads"]) or "base"
    terminal.result(f"database   {found['database_revision'] or 'base'}")
    terminal.result(f"head       {heads}")
    covered, problems, pending = found["sources_covered"], found["problems"], len(found["pending"])
    known = pending or not problems or found["database_revision"] == found["head_revision"]
    terminal.result(f"pending    {pending if known else 'not known, see below'}")
    unsure = ": not known, see below" if problems and not covered else ""
    terminal.result(f"sources    {'' if covered or problems else 'not yet '}covered by the revisions{unsure}")
    held = f"{counted(meta['objects'], 'object')}, {counted(meta['fields'], 'field')}"
    terminal.result(f"metadata   {held} in {meta['path']}")
    terminal.table("Namespaces (managed packages)", found["namespaces"])
    _show_pending(terminal, found["pending"])
    terminal.table("Missing in the org", found["missing"])
    terminal.table("Types kept by choice that may not hold the org's values", found["tight_choices"], style="yellow")
    terminal.table("Drift", found["drift"], style="red")
    terminal.table("Carried (in revisions, in no model)", [{"what": name} for name in found["carried"]])
    terminal.table("Foreign (never touched)", [{"relation": name} for name in found["foreign"]])
    git = found["git"]
    terminal.table("Not committed to git", [row | {"path": shown(row["path"])} for row in git["uncommitted"]])
    terminal.table(
        "In other branches of git, and not here", [row | {"file": shown(row["file"])} for row in git["lacking"]]
    )
    if git["unknown"]:
        terminal.say(f"What git says of the schema files is not known: {git['unknown']}", "dim")
    if git["advice"]:
        terminal.say(git["advice"], "yellow")
    if found["running"]:
        terminal.say(f"A migration is running, by {found['running']}: what is told here may change.", "yellow")
    if found["not_compared"]:
        terminal.say(found["not_compared"], "yellow")
    if found["moving"]:
        terminal.say(found["moving"], "yellow")
    if found["registry"]:
        terminal.say(found["registry"], "yellow")
    for problem in problems:
        terminal.say(problem, "red")
    if problems:
        return
    if found["undeclared"]:
        terminal.say(declare_it(found["undeclared"]), "yellow")
    elif not covered:
        then = ", then review all that is pending" if pending else ""
        terminal.say(f"Next: monarch generate-migrations{then}", "yellow")
    elif pending:
        terminal.say("Next: review the pending files, then monarch run-migrations", "yellow")


def _show_pending(terminal: Terminal, items: Sequence[Mapping[str, Any]]) -> None:
    terminal.table("Pending", [{"revision": p["revision"], "file": Path(p["path"]).name} for p in items])
    hazards = [
        {"severity": severity(hazard["kind"]), "revision": item["revision"]} | hazard
        for item in items
        for hazard in item["hazards"]
    ]
    terminal.table("Hazards", sorted(hazards, key=lambda row: gravity(row["kind"])), style="yellow")
    conversions = [{"revision": item["revision"], **row} for item in items for row in item["conversions"]]
    conversions.sort(key=lambda row: (-(row["cannot_become"] or 0), -(row["cut"] or 0)))  # the rest fits
    counts = ("values", "cannot_become", "cut")
    told = [
        row | {key: "not counted" if row[key] is None else f"{row[key]:,}" for key in counts} for row in conversions
    ]
    terminal.table("What pending conversions would do to values", told, style="yellow")
    sizes = {table["table"]: table for item in items for table in item["tables"]}
    readable = [table | {"rows": f"{table['rows']:,}", "bytes": f"{table['bytes']:,}"} for table in sizes.values()]
    terminal.table("Tables that pending revisions work on", readable)


def show_rebase(terminal: Terminal, found: Mapping[str, Any], *, dry_run: bool) -> None:
    """Show the object of `monarch rebase --json` for people, and the next step."""
    rows = [
        {"old": ", ".join(item["replaces"]), "new": item["revision"], "file": Path(item["path"]).name}
        for item in found["moved"]
    ]
    by = f", which {found['branch']} has" if found["branch"] else ""
    put, goes = ("Would be put", "would go") if dry_run else ("Put", "goes")
    terminal.table(f"{put} behind {found['onto']}{by}", rows)
    for name in found["vanished"]:
        terminal.result(f"{name}: nothing is left to do behind {found['onto']}; its file {goes}.")
    if found["vanished"]:
        terminal.say(
            "A target that has such a revision applied is moved along by monarch run-migrations where another one does "
            "just the same; else it says what to revert.",
            "yellow",
        )
    for name in found["done"]:
        terminal.result(f"{name}: an earlier rebase put it behind the other head; its file {goes}.")
    for path in found["deleted"]:
        terminal.result(f"{Path(path).name}: another file has the same revision; this one {goes}.")
    if found["onto"] is None:
        terminal.result(f"Nothing to rebase: the chain has one head ({found['head'] or 'base'}).")
    if dry_run:
        terminal.say("No file was changed.", "yellow")
    elif found["undeclared"]:
        terminal.say(declare_it(found["undeclared"]), "yellow")
    elif found["sources_covered"] is False:
        terminal.say("The sources say more than the revisions. Next: monarch generate-migrations", "yellow")
    elif found["onto"] is not None:
        terminal.say("Next: review the new files and commit them, then monarch run-migrations", "yellow")


class _Handler(logging.Handler):
    def __init__(self, terminal: Terminal, progress: Progress) -> None:
        super().__init__(logging.INFO)
        self._terminal = terminal
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._quarter = 0

    def emit(self, record: logging.LogRecord) -> None:
        counted: tuple[int, int] | None = getattr(record, "progress", None)
        if counted is not None and self._progress.disable:
            done, total = counted
            if done * 4 // total == self._quarter:
                return  # a log file wants a line now and then, not one a batch
            self._quarter = done * 4 // total
        if counted is None or self._progress.disable:
            style = "yellow" if record.levelno >= logging.WARNING else "dim"
            self._terminal.say(record.getMessage(), style)
            return
        done, total = counted
        name: str = record.task  # type: ignore[attr-defined]
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done)
