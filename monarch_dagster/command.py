"""What the commands share: options, how a command ends, and how one runs a job."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import click

from monarch_dagster.console import Terminal, show_checks
from monarch_dagster.errors import MonarchError
from monarch_dagster.interrupts import Interrupted, interruptible, uninterrupted
from monarch_dagster.migrations.revisions import check_range
from monarch_dagster.settings import Settings


def checked(check: Callable[[str], str]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return the callback of an option whose values `check` takes; what it raises `ValueError` for is a wrong usage."""

    def callback(context: click.Context, option: click.Parameter, value: Any) -> Any:
        try:
            for name in [value] if isinstance(value, str) else value:
                check(name)
        except ValueError as error:
            raise click.BadParameter(str(error), context, option) from None
        return value

    return callback


JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
LOSS = click.option(
    "--allow-data-loss",
    metavar="REV",
    callback=checked(check_range),
    multiple=True,
    help="Revision (REV or FROM:TO) that may lose stored values. Repeatable.",
)
UNPROVED = click.option(
    "--allow-unproved",
    metavar="REV",
    callback=checked(check_range),
    multiple=True,
    help="Revision (REV or FROM:TO) that may run without a proof. Repeatable.",
)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command its terminal, and end it with a message: exit code 1 where a person has to act.

    Interrupted, it ends as a shell tells it: with 130 by Ctrl-C, with 143 by SIGTERM.
    """

    @wraps(function)
    def wrapped(**arguments: Any) -> None:
        terminal = Terminal()
        with interruptible() as exit_code:
            try:
                function(terminal, **arguments)
            except (Interrupted, Exception) as error:
                code = exit_code()
                # Of an interrupt some libraries make an error of their own, such as pydantic while it builds a model.
                if code or isinstance(error, Interrupted):
                    terminal.say("Interrupted.", "yellow")
                    sys.exit(code or 128 + signal.SIGINT)
                if not isinstance(error, MonarchError):
                    raise
                if arguments.get("as_json"):
                    terminal.json({"error": error.message, "remedy": error.remedy})
                terminal.say(f"Error: {error.message}", "bold red")
                if error.remedy:
                    terminal.say(f"What to do: {error.remedy}", "yellow")
                sys.exit(1)

    return wrapped


def run(terminal: Terminal, settings: Settings, job: str, config: Mapping[str, Any], as_json: bool) -> None:
    """Run a job in the history that the UI shows, and print what its assets and checks report."""
    # An interrupt in the middle of an import can be swallowed, and leaves modules that are half there.
    with uninterrupted():
        from monarch_dagster.defs.running import run_job

    with terminal.logging():
        result = run_job(settings, job, config)
    if as_json:
        terminal.json({"run_id": result.run_id, "assets": result.assets, "checks": result.checks})
        return
    for name, metadata in result.assets.items():
        terminal.out.print(f"[bold]{name}[/bold]")
        terminal.result("\n".join(f"  {line}" for line in str(metadata["summary"]).splitlines()))
        for key in ("changes", "hazards"):
            if isinstance(rows := metadata.get(key), list):
                terminal.table(key, rows)
    show_checks(terminal, result.checks)
