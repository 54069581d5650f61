"""Commands for one's own machine: the sample org, the demo, the UI, and the end of the embedded servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from monarch_dagster.command import JSON, command, run
from monarch_dagster.console import Terminal
from monarch_dagster.settings import Settings


@click.command("sample-org")
@click.option("--port", default=8091, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--describes", type=click.Path(path_type=Path), help="Serve this folder of describes instead.")
@click.option("--org-version", type=click.IntRange(1, 2), default=1, show_default=True, help="Of the shipped org.")
@command
def sample_org(terminal: Terminal, port: int, describes: Path | None, org_version: int) -> None:
    """Serve describe files as a local Salesforce REST API; prints the export lines to use it."""
    from monarch_dagster.salesforce.sample_org.running import RunningOrg, serve

    def announce(org: RunningOrg) -> None:
        terminal.say(f"A Salesforce org for play on {org.url}; Ctrl-C ends it. In another terminal:", "bold green")
        for name, value in org.environment.items():
            terminal.result(f"export {name}={value}")
        sys.stdout.flush()

    serve(describes, version=org_version, port=port, home=Settings.load().home, announce=announce)


@click.command()
@JSON
@command
def demo(terminal: Terminal, as_json: bool) -> None:
    """Do the whole job on the embedded database and the sample org."""
    with _demo(terminal, Settings.load()) as settings:
        terminal.say("Fetching the org, generating migrations and applying them …")
        run(terminal, settings, "setup_provider_schema", {"fetch": True, "generate": True}, as_json)
        if not as_json:
            terminal.say(f"\nThe schema files are in {settings.sources.schema_dir}.")
            terminal.say("Next: `make dev` opens the UI on this demo; run the demo again and nothing is to do.")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@command
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
        # Else Dagster says that its storage is temporary, which it is not: see dagster.yaml.
        home = {"DAGSTER_HOME": str(settings.root)} if (settings.root / "dagster.yaml").exists() else {}
        process = stack.enter_context(subprocess.Popen(command, cwd=settings.root, env=home | os.environ))
        # A terminal sends Ctrl-C to both; whoever sends a signal to this process alone means Dagster too.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        code = process.wait()
    sys.exit(code)


@click.command()
@command
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
        terminal.say(f"The sample org is on {org.url}; `curl -X POST {org.url}/sample-org/version/2` changes it.")
        # Another login, also one in .env, must not win over the sample org's; set to nothing counts as not set.
        os.environ.update(dict.fromkeys(settings.salesforce, "") | demo_settings.environment() | org.environment)
        yield Settings.load()
