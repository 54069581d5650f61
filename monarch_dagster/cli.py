"""The command `monarch` (DESIGN section 5): each command reads its arguments, calls one function and prints.

Commands with a job run that very job, in process, in the history that the UI shows. The others do not load Dagster.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monarch_dagster.console import Terminal, show_checks, show_status
from monarch_dagster.errors import MonarchError
from monarch_dagster.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monarch_dagster.migrations.generate import Proposal

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
LOSS = click.option(
    "--allow-data-loss",
    metavar="REV",
    multiple=True,
    help="Revision (REV or FROM:TO) that may lose stored values. Repeatable.",
)

UNPROVED = click.option(
    "--allow-unproved",
    metavar="REV",
    multiple=True,
    help="Revision (REV or FROM:TO) that may run without a proof. Repeatable.",
)


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command its terminal, and end it with a message and exit code 1 where a person has to act."""

    @wraps(function)
    def wrapped(**arguments: Any) -> None:
        terminal = Terminal()
        try:
            function(terminal, **arguments)
        except MonarchError as error:
            terminal.say(f"Error: {error.message}", "bold red")
            if error.remedy:
                terminal.say(f"What to do: {error.remedy}", "yellow")
            sys.exit(1)
        except KeyboardInterrupt:
            terminal.say("Interrupted.", "yellow")
            sys.exit(130)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="monarch-dagster")
def main() -> None:
    """Keep a PostgreSQL warehouse in step with its SQLAlchemy models and its Salesforce org."""


@main.command()
@click.option("--fetch", is_flag=True, help="Fetch object_meta.json from the Salesforce org first.")
@click.option("--generate", is_flag=True, help="Generate migrations for what changed.")
@JSON
@_command
def setup(terminal: Terminal, fetch: bool, generate: bool, as_json: bool) -> None:
    """Set up the provider's schema. No flag: run the migrations that exist (the local install)."""
    _run(terminal, Settings.load(), "setup_provider_schema", {"fetch": fetch, "generate": generate}, as_json)


@main.command()
@click.option("--object", "objects", metavar="NAME", multiple=True, help="Fetch only this object. Repeatable.")
@JSON
@_command
def fetch(terminal: Terminal, objects: tuple[str, ...], as_json: bool) -> None:
    """Write object_meta.json from the Salesforce org."""
    _run(terminal, Settings.load(), "fetch_object_meta", {"objects": list(objects)}, as_json)


@main.command("generate-migrations")
@click.option("-m", "--message", default="", help="Message of the revision; it also ends in the file's name.")
@click.option("--empty", is_flag=True, help="Write a revision without operations, to be filled in by hand.")
@click.option("--dry-run", is_flag=True, help="Show and prove the revision, but write no file.")
@JSON
@_command
def generate_migrations(terminal: Terminal, message: str, empty: bool, dry_run: bool, as_json: bool) -> None:
    """Propose revisions for what changed in the schema files, or say that there is nothing to do."""
    settings = Settings.load()
    if not (dry_run or empty):
        _run(terminal, settings, "generate_migrations", {"message": message}, as_json)
        return
    from monarch_dagster.migrations.generate import propose

    with terminal.logging():
        proposal = propose(
            settings.sources, settings.shadows(), settings.proofs(), message=message, dry_run=dry_run, empty=empty
        )
    if as_json:
        terminal.json(_proposal_json(proposal))
        return
    for item in proposal.revisions:
        terminal.say(f"{'Would write' if dry_run else 'Wrote'} {item.path}", "green")
        if dry_run:
            terminal.result(item.text)
    if not proposal.revisions:
        terminal.result(f"Nothing to generate (head {proposal.head_before or 'base'}).")


@main.command("run-migrations")
@click.option("--to", "target", metavar="REV", default="head", show_default=True, help="Revision to apply up to.")
@click.option("--dry-run", is_flag=True, help="Print the SQL, run nothing.")
@LOSS
@UNPROVED
@JSON
@_command
def run_migrations(
    terminal: Terminal,
    target: str,
    dry_run: bool,
    allow_data_loss: tuple[str, ...],
    allow_unproved: tuple[str, ...],
    as_json: bool,
) -> None:
    """Apply the pending revisions to the target."""
    settings = Settings.load()
    if not dry_run:
        config = {
            "target": target,
            "allow_data_loss": list(allow_data_loss),
            "allow_unproved": list(allow_unproved),
        }
        _run(terminal, settings, "run_migrations", config, as_json)
        return
    from monarch_dagster.migrations.apply import apply_revisions
    from monarch_dagster.migrations.chain import load_chain

    chain = load_chain(settings.sources.schema_dir)
    result = apply_revisions(chain, settings.target_url(), settings.prover(), to=target, dry_run=True)
    if as_json:
        terminal.json({"revision_before": result.before, "sql": result.sql})
    elif result.sql:
        terminal.result(result.sql)
    else:
        terminal.say(f"Nothing to run: the target is at {result.before or 'base'}.", "green")


@main.command()
@click.option("--to", "target", metavar="REV", required=True, help="Revision to go back to; base empties.")
@LOSS
@JSON
@_command
def revert(terminal: Terminal, target: str, allow_data_loss: tuple[str, ...], as_json: bool) -> None:
    """Take the target back to an earlier revision."""
    config = {"target": target, "allow_data_loss": list(allow_data_loss)}
    _run(terminal, Settings.load(), "revert_migrations", config, as_json)


@main.command()
@JSON
@_command
def status(terminal: Terminal, as_json: bool) -> None:
    """Show versions, pending revisions, hazards, missing entries and drift."""
    from monarch_dagster.migrations.status import read_status

    settings = Settings.load()
    found = read_status(settings.sources, settings.shadows, settings.target_url()).to_json()
    if as_json:
        terminal.json(found)
        return
    show_status(terminal, found)


@main.command()
@JSON
@_command
def check(terminal: Terminal, as_json: bool) -> None:
    """Run every check once; exit code 1 where one fails."""
    from monarch_dagster.migrations.chain import load_chain
    from monarch_dagster.migrations.checks import CHECKS
    from monarch_dagster.migrations.runner import read_versions

    settings = Settings.load()
    chain, versions = load_chain(settings.sources.schema_dir), read_versions(settings.target_url())
    outcomes = {name: asdict(decide(versions, chain)) for name, decide in CHECKS.items()}
    if as_json:
        terminal.json(outcomes)
    else:
        show_checks(terminal, outcomes)
    sys.exit(0 if all(outcome["passed"] for outcome in outcomes.values()) else 1)


@main.command("sample-org")
@click.option("--port", default=8091, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--describes", type=click.Path(path_type=Path), help="Serve this folder of describes instead.")
@click.option("--org-version", type=click.IntRange(1, 2), default=1, show_default=True, help="Of the shipped org.")
@_command
def sample_org(terminal: Terminal, port: int, describes: Path | None, org_version: int) -> None:
    """Serve describe files as a local Salesforce REST API; prints the export lines to use it."""
    from monarch_dagster.salesforce.sample_org.running import RunningOrg, serve

    def announce(org: RunningOrg) -> None:
        terminal.say(f"A Salesforce org for play on {org.url}; Ctrl-C ends it. In another terminal:", "bold green")
        for name, value in org.environment.items():
            terminal.result(f"export {name}={value}")
        sys.stdout.flush()

    serve(describes, version=org_version, port=port, home=Settings.load().home, announce=announce)


@main.command()
@JSON
@_command
def demo(terminal: Terminal, as_json: bool) -> None:
    """Do the whole job on the embedded database and the sample org."""
    with _demo(terminal, Settings.load()) as settings:
        terminal.say("Fetching the org, generating migrations and applying them …")
        _run(terminal, settings, "setup_provider_schema", {"fetch": True, "generate": True}, as_json)
        if not as_json:
            terminal.say(f"\nThe schema files are in {settings.sources.schema_dir}.")
            terminal.say("Next: `make dev` opens the UI on this demo; run the demo again and nothing is to do.")


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@_command
def dev(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    """Open the Dagster UI; ARGUMENTS go to `dagster dev` (such as --port 3001).

    While no SALESFORCE_* variable and no schema folder is there, it works on the demo.
    """
    settings = Settings.load()
    with ExitStack() as stack:
        if settings.untouched:
            stack.enter_context(_demo(terminal, settings))
        else:
            terminal.say(f"The UI works on {settings.sources.schema_dir}.", "bold green")
        # Fails here with a message, not in the middle of Dagster's start.
        settings.dagster_url()
        command = [sys.executable, "-m", "dagster", "dev", *arguments]
        process = stack.enter_context(subprocess.Popen(command, cwd=settings.root))
        # A terminal sends Ctrl-C to both; whoever sends a signal to this process alone means Dagster too.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        code = process.wait()
    sys.exit(code)


@main.command()
@_command
def stop(terminal: Terminal) -> None:
    """Stop the embedded PostgreSQL servers; the data stays, shadows go."""
    from monarch_dagster.postgres.embedded import shadow_cluster, target_cluster

    home = Settings.load().home
    ran = target_cluster(home).stop()
    shadow_cluster(home).remove()
    terminal.say("Stopped the embedded PostgreSQL." if ran else "The embedded PostgreSQL was not running.", "green")


@contextmanager
def _demo(terminal: Terminal, settings: Settings) -> Iterator[Settings]:
    """Start the sample org and lead this process, and those that it starts, to the demo's folder and database."""
    from monarch_dagster.salesforce.sample_org.running import running

    demo_settings = settings.demo()
    folder = os.path.relpath(demo_settings.sources.schema_dir, settings.root)
    terminal.say(
        f"Demo: the sample org, the embedded PostgreSQL and the schema files in {folder}; nothing else is touched.",
        "bold green",
    )
    with running(home=settings.home) as org:
        # Another login, also one in .env, must not win over the sample org's; set to nothing counts as not set.
        os.environ.update(dict.fromkeys(settings.salesforce, "") | demo_settings.environment() | org.environment)
        yield Settings.load()


def _run(terminal: Terminal, settings: Settings, job: str, config: Mapping[str, Any], as_json: bool) -> None:
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


def _proposal_json(proposal: Proposal) -> dict[str, Any]:
    return {
        "proposal": proposal.id or None,
        "head_before": proposal.head_before,
        "revisions": [
            {
                "revision": item.revision,
                "down_revision": item.down_revision,
                "path": str(item.path),
                "upgrade_sql": item.upgrade_sql,
                "hazards": [asdict(hazard) for hazard in item.hazards],
            }
            for item in proposal.revisions
        ],
        "changes": [asdict(change) for change in proposal.changes],
        "warnings": list(proposal.warnings),
        "carried": list(proposal.carried),
    }
