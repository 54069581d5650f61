"""The everyday story in a real browser: first set-up, a look at the SQL, an edited model, the proposal, the apply.

With MONARCH_SCREENSHOTS set to a folder, what the browser shows is kept there; the pictures in `docs/images` are these.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from monarch_dagster.salesforce.sample_org.running import RunningOrg
from monarch_dagster_tests.defs.test_storage import ask, free_port, started
from monarch_dagster_tests.support import SMALL_MODELS, Project

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

# Without the latter, Chromium asks its maker's servers for this and that.
SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-sync", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-quic"),
)
RUNS = "{ runsOrError { ... on Runs { results { runId jobName status } } } }"
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
SECONDS = 180
# Read before a test takes Monarch's variables away.
PICTURES = os.environ.get("MONARCH_SCREENSHOTS", "")
TITLE = '    title: Mapped[str | None] = mapped_column(Text, comment="What it is about.")\n'


@dataclass
class Browser:
    """A page of a browser that is open on the UI of a project."""

    page: Any
    port: str

    def open(self, path: str) -> None:
        """Go to a page of the UI."""
        self.page.goto(f"http://127.0.0.1:{self.port}{path}")

    def sees(self, text: str, *, exact: bool = False) -> None:
        """Wait until the page shows a text."""
        self.page.get_by_text(text, exact=exact).first.wait_for(timeout=SECONDS * 1000)

    def shoot(self, name: str) -> None:
        """Keep a picture of the page, where they are wanted."""
        if PICTURES:
            self.page.wait_for_timeout(2500)  # what is drawn is still moving
            self.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))

    def launch(self, job: str, config: str) -> str:
        """Launch a job from its Launchpad with a config written there; return the run's id when it has ended well."""
        self.open(f"/locations/monarch/jobs/{job}/playground")
        self.page.locator(".CodeMirror").first.wait_for(timeout=SECONDS * 1000)
        self.page.evaluate("text => document.querySelector('.CodeMirror').CodeMirror.setValue(text)", config)
        self.sees("No errors")
        self.shoot(f"launchpad-{job.replace('_', '-')}")
        before = set(self.runs(job))
        self.page.get_by_text("Launch Run").last.click()
        return self.ended(job, before)

    def runs(self, job: str) -> dict[str, str]:
        """Return the status of each run of a job."""
        found = ask(self.port, RUNS)["runsOrError"]["results"]
        return {run["runId"]: run["status"] for run in found if run["jobName"] == job}

    def ended(self, job: str, before: set[str]) -> str:
        """Return the id of a new run of a job when it has ended well."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            new = {name: status for name, status in self.runs(job).items() if name not in before}
            if new and all(status in ENDED for status in new.values()):
                ((name, status),) = new.items()
                assert status == "SUCCESS"
                return name
            time.sleep(1)
        raise AssertionError(f"no new run of {job} has ended: {self.runs(job)}")


@pytest.fixture
def browser(here: Project, org: RunningOrg) -> Iterator[Browser]:
    """A browser on `monarch dev`, which works on the project and the sample org."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    port = free_port()
    with started(here, "monarch_dagster", "dev", "--port", port, **org.environment):
        ask(port, RUNS)
        with playwright.sync_playwright() as driver:
            program_browser = driver.chromium.launch(executable_path=program, args=list(SWITCHES))
            yield Browser(program_browser.new_page(viewport={"width": 1440, "height": 900}), port)
            program_browser.close()


def test_from_the_first_setup_to_an_edited_model_and_its_apply(browser: Browser, here: Project) -> None:
    browser.open("/locations/monarch/asset-groups/provider_schema")
    for asset in ("salesforce_org", "core_models", "object_meta", "revision_files", "live_schema", "schema_state"):
        browser.sees(asset)

    run = browser.launch("setup_provider_schema", "fetch: true\ngenerate: true\n")
    assert here.execute("SELECT version_num FROM alembic.alembic_version") == [(here.chain().head,)]
    browser.open(f"/runs/{run}")
    browser.sees("Success", exact=True)
    browser.shoot("run")

    browser.open("/locations/monarch/asset-groups/provider_schema")
    browser.sees("Materialized")
    browser.shoot("assets")

    browser.open("/assets/revision_files?view=events")
    browser.sees("upgrade_sql")
    browser.page.get_by_text("[Show Markdown]").first.click()
    browser.sees("CREATE TABLE salesforce.account")
    browser.shoot("sql")
    browser.page.keyboard.press("Escape")

    before = set(browser.runs("generate_migrations"))
    here.write_models(SMALL_MODELS + TITLE)
    browser.ended("generate_migrations", before)
    assert here.chain().revisions[-1].path.read_text().count("title") >= 2
    browser.open("/locations/monarch/sensors/schema_files")
    browser.sees("1 run requested")
    browser.shoot("sensor")

    browser.open("/assets/schema_state?view=checks")
    browser.sees("alembic_version_at_head")
    browser.page.get_by_text("alembic_version_at_head").first.click()
    browser.sees("1 revision pending: review, then")
    browser.shoot("check-before")

    browser.launch("run_migrations", "target: head\n")
    assert here.execute("SELECT version_num FROM alembic.alembic_version") == [(here.chain().head,)]
    browser.open("/assets/schema_state?view=checks")
    browser.page.get_by_text("alembic_version_at_head").first.click()
    browser.sees("none needed")
    browser.shoot("check-after")
