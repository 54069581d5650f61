"""The command `monarch` (DESIGN section 5): each command reads its arguments, calls one function and prints.

Commands with a job run that very job, in process, in the history that the UI shows. The others do not load Dagster.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from monarch_dagster import local
from monarch_dagster.command import JSON, LOSS, UNPROVED, checked, command, run
from monarch_dagster.console import SHOWN_ROWS, Terminal, show_checks, show_rebase, show_status
from monarch_dagster.migrations.revisions import check_name
from monarch_dagster.salesforce.guards import MAX_MISSING_PERCENT
from monarch_dagster.settings import Settings

if TYPE_CHECKING:
    from monarch_dagster.migrations.generate import Proposal


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="monarch-dagster")
def main() -> None:
    """Keep a PostgreSQL warehouse in step with its SQLAlchemy models and its Salesforce org."""


@main.command()
@click.option("--fetch", is_flag=True, help="Fetch object_meta.json from the Salesforce org first.")
@click.option("--generate", is_flag=True, help="Generate migrations for what changed.")
@JSON
@command
def setup(terminal: Terminal, fetch: bool, generate: bool, as_json: bool) -> None:
    """Set up the provider's schema. No flag: run the migrations that exist (the local install)."""
    run(terminal, Settings.load(), "setup_provider_schema", {"fetch": fetch, "generate": generate}, as_json)


@main.command()
@click.option(
    "--object", "objects", metavar="NAME", multiple=True, help="Fetch only this object, or 'npsp__*'. Repeatable."
)
@click.option("--other-org", is_flag=True, help="Take the metadata of another org than the file's.")
@click.option("--lower-api-version", is_flag=True, help="Fetch with a lower API version than the file's.")
@click.option(
    "--max-missing",
    "max_missing_percent",
    metavar="PERCENT",
    type=click.IntRange(0, 100),
    default=MAX_MISSING_PERCENT,
    show_default=True,
    help="Share of the known fields that may be missing at once; 100 takes any but all.",
)
@JSON
@command
def fetch(terminal: Terminal, objects: tuple[str, ...], as_json: bool, **allowed: bool | int) -> None:
    """Write object_meta.json from the Salesforce org. What the org no longer shows is kept, marked missing."""
    run(terminal, Settings.load(), "fetch_object_meta", {"objects": list(objects), **allowed}, as_json)


@main.command("generate-migrations")
@click.option("-m", "--message", default="", help="Message of the revision; it also ends in the file's name.")
@click.option("--empty", is_flag=True, help="Write a revision without operations, to be filled in by hand.")
@click.option("--dry-run", is_flag=True, help="Show and prove the revision, but write no file.")
@JSON
@command
def generate_migrations(terminal: Terminal, message: str, empty: bool, dry_run: bool, as_json: bool) -> None:
    """Propose revisions for what changed in the schema files, or say that there is nothing to do."""
    settings = Settings.load()
    if not (dry_run or empty):
        run(terminal, settings, "generate_migrations", {"message": message}, as_json)
        return
    from monarch_dagster.migrations.generate import propose
    from monarch_dagster.migrations.superseding import OpenProposals

    with terminal.logging():
        proposal = propose(
            settings.sources,
            settings.shadows(),
            settings.proofs(),
            message=message,
            dry_run=dry_run,
            empty=empty,
            open_proposals=OpenProposals(settings.target_url()),
        )
    if as_json:
        terminal.json(_proposal_json(proposal))
        return
    for item in proposal.revisions:
        terminal.say(f"{'Would write' if dry_run else 'Wrote'} {item.path}", "green")
        if dry_run:
            terminal.result(item.text)
    for old in proposal.superseded:
        terminal.say(f"{'Would delete' if dry_run else 'Deleted'} {old.path}", "yellow")
    if not proposal.revisions:
        terminal.result(f"Nothing to generate (head {proposal.head_before or 'base'}).")


@main.command("run-migrations")
@click.option(
    "--to",
    "target",
    metavar="REV",
    callback=checked(check_name),
    default="head",
    show_default=True,
    help="Revision to apply up to.",
)
@click.option("--dry-run", is_flag=True, help="Print the SQL, run nothing.")
@LOSS
@UNPROVED
@JSON
@command
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
        run(terminal, settings, "run_migrations", config, as_json)
        return
    from monarch_dagster.migrations.apply import apply_revisions
    from monarch_dagster.migrations.chain import load_chain
    from monarch_dagster.migrations.sizes import hazard_rows

    chain = load_chain(settings.sources.schema_dir)
    result = apply_revisions(chain, settings.target_url(), settings.prover(), to=target, dry_run=True)
    hazards = hazard_rows(result.pending, result.sizes)
    if as_json:
        conversions = [{"revision": item.revision, **item.to_json()} for item in result.conversions]
        found = {"revision_before": result.before, "sql": result.sql, "hazards": hazards, "conversions": conversions}
        terminal.json(found)
    elif result.sql:
        terminal.result(result.sql)
        for row in hazards[:SHOWN_ROWS]:
            held = f" ({row['rows']} rows, {row['size']})" if row["rows"] else ""
            terminal.say(f"{row['revision']} {row['kind']}: {row['object']}: {row['detail']}{held}", "yellow")
        if len(hazards) > SHOWN_ROWS:
            terminal.say(f"… and {len(hazards) - SHOWN_ROWS} more hazards", "yellow")
        for item in result.conversions:
            terminal.say(str(item), "yellow")
    else:
        terminal.say(f"Nothing to run: the target is at {result.before or 'base'}.", "green")


@main.command()
@click.option(
    "--to",
    "target",
    metavar="REV",
    callback=checked(check_name),
    required=True,
    help="Revision to go back to; base empties.",
)
@LOSS
@JSON
@command
def revert(terminal: Terminal, target: str, allow_data_loss: tuple[str, ...], as_json: bool) -> None:
    """Take the target back to an earlier revision."""
    config = {"target": target, "allow_data_loss": list(allow_data_loss)}
    run(terminal, Settings.load(), "revert_migrations", config, as_json)


@main.command()
@click.option("--dry-run", is_flag=True, help="Only tell which revision the target's schema equals.")
@JSON
@command
def adopt(terminal: Terminal, dry_run: bool, as_json: bool) -> None:
    """Record the revision that the target's schema equals; nothing else of the target is touched."""
    settings = Settings.load()
    if not dry_run:
        run(terminal, settings, "adopt_database", {"dry_run": False}, as_json)
        return
    from monarch_dagster.migrations.adopt import adopt as find
    from monarch_dagster.migrations.chain import load_chain

    with terminal.logging():
        found = find(load_chain(settings.sources.schema_dir), settings.target_url(), settings.shadows(), dry_run=True)
    if as_json:
        terminal.json(asdict(found))
        return
    terminal.result(f"The target's schema equals {found.after or 'base'}; its version says {found.before or 'base'}.")
    terminal.table("Foreign (never touched)", [{"relation": name} for name in found.foreign])


@main.command()
@click.option("--onto", metavar="REV", default="", help="Head that stays; else the one that git's shared branch has.")
@click.option("--dry-run", is_flag=True, help="Show what would be put where, and prove it, but change no file.")
@JSON
@command
def rebase(terminal: Terminal, onto: str, dry_run: bool, as_json: bool) -> None:
    """After a git merge: put this branch's revisions behind the other head."""
    from monarch_dagster.migrations.rebase import rebase as rebase_files

    settings = Settings.load()
    with terminal.logging():
        found = rebase_files(
            settings.sources, settings.shadows(), settings.proofs(), onto=onto, dry_run=dry_run
        ).to_json()
    if as_json:
        terminal.json(found)
        return
    show_rebase(terminal, found, dry_run=dry_run)


@main.command()
@JSON
@command
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
@click.option("--files", is_flag=True, help="Only what needs no target: the gate for a client's repository.")
@LOSS
@JSON
@command
def check(terminal: Terminal, files: bool, allow_data_loss: tuple[str, ...], as_json: bool) -> None:
    """Run every check once; exit code 1 where one fails."""
    from monarch_dagster.migrations.checks import CHECKS, FILE_CHECKS, run_check
    from monarch_dagster.migrations.situation import Situation

    settings = Settings.load()
    situation = Situation(settings.prover(), None if files else settings.target_url(), allow_data_loss)
    checks = FILE_CHECKS if files else CHECKS
    with terminal.logging():
        outcomes = {name: asdict(run_check(check, situation)) for name, check in checks.items()}
    if as_json:
        terminal.json(outcomes)
    else:
        show_checks(terminal, outcomes)
    sys.exit(0 if all(outcome["passed"] for outcome in outcomes.values()) else 1)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others want a token.")
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@command
def api(terminal: Terminal, host: str, port: int) -> None:
    """Serve the endpoints that start jobs over HTTP: /generate-migrations, /run-migrations, /status."""
    from monarch_dagster.api.serving import serve

    def announce(url: str) -> None:
        terminal.say(f"The API listens on {url}; {url}/docs shows its endpoints. Ctrl-C ends it.", "bold green")

    with terminal.logging():
        serve(Settings.load(), host=host, port=port, announce=announce)


for each in (local.sample_org, local.demo, local.dev, local.stop):
    main.add_command(each)


def _proposal_json(proposal: Proposal) -> dict[str, Any]:
    from monarch_dagster.migrations.changes import change_kind

    return {
        "proposal": proposal.id or None,
        "head_before": proposal.head_before,
        "revisions": [
            {
                "revision": item.revision,
                "down_revision": item.down_revision,
                "path": str(item.path),
                "upgrade_sql": item.upgrade_sql,
                "downgrade_sql": item.downgrade_sql,
                "hazards": [asdict(hazard) for hazard in item.hazards],
            }
            for item in proposal.revisions
        ],
        "changes": [{"kind": change_kind(change), **asdict(change)} for change in proposal.changes],
        "warnings": list(proposal.warnings),
        "carried": list(proposal.carried),
        "superseded": [item.revision for item in proposal.superseded],
    }
