"""Many calls at once, and calls as nobody would write them: each is answered, and nothing is done twice."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monarch_dagster.api.lanes import LONGEST_QUEUE
from monarch_dagster_tests.api.support import Api, started
from monarch_dagster_tests.support import SMALL_MODELS, Project

# To generate takes four times as long as to apply: most of it is the import of the models.
CALLED = ("run-migrations", "generate-migrations", "run-migrations", "run-migrations", "run-migrations")

# A wait that is in order is made a short one: the run may stand behind a hundred others.
HOOKS = """
import schemathesis

@schemathesis.hook
def map_query(context, query):
    wait = (query or {}).get("wait")
    return {**query, "wait": 1} if isinstance(wait, int) and 1 < wait <= 600 else query
"""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("calls", [6, pytest.param(50, marks=pytest.mark.soak)])
def test_calls_at_once_are_each_answered_and_apply_each_change_once(api: Api, calls: int) -> None:
    before = applied(api.project)
    api.project.write_models(SMALL_MODELS + f"    added_{calls}: Mapped[str | None] = mapped_column(Text)\n")
    jobs = list(itertools.islice(itertools.cycle(CALLED), calls))
    with ThreadPoolExecutor(calls) as callers:
        answers = [*callers.map(lambda job: api.run(job, wait=600), jobs), api.run("run-migrations")]
    assert [answer["job"].replace("_", "-") for answer in answers] == [*jobs, "run-migrations"]
    assert {answer["status"] for answer in answers} == {"SUCCESS"}
    assert len({answer["run_id"] for answer in answers}) == calls + 1
    after = applied(api.project)
    assert after == [item.revision for item in api.project.chain().revisions]
    told = Counter(
        revision for answer in answers if answer["job"] == "run_migrations" for revision in answer["revisions"]
    )
    assert told == dict.fromkeys(after[len(before) :], 1) != {}


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_more_calls_than_anybody_can_want_are_refused_and_the_others_are_not(api: Api) -> None:
    def call(_number: int) -> int:
        return int(api.call("POST", "/run-migrations").status_code)

    with ThreadPoolExecutor(20) as callers:
        codes = Counter(callers.map(call, range(2 * LONGEST_QUEUE)))
    assert codes.keys() == {202, 429}
    assert codes[202] >= LONGEST_QUEUE
    while (answer := api.call("POST", "/run-migrations", wait=600)).status_code == 429:
        pass
    assert answer.json()["status"] == "SUCCESS"


def test_calls_that_break_the_description_find_nothing(api: Api) -> None:
    fuzz(api, "--phases", "coverage", "--mode", "negative")


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_calls_of_all_kinds_find_nothing(project: Project) -> None:
    with started(project) as api:
        fuzz(api, "--max-examples", "50")
        assert "Traceback" not in api.log.read_text()


def fuzz(api: Api, *arguments: str) -> None:
    """Run schemathesis with all of its checks on the description that the server gives; it must find nothing."""
    hooks = api.project.root / "hooks.py"
    hooks.write_text(HOOKS)
    command = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [
            *(str(command), "run", f"{api.url}/openapi.json", "--header", f"Authorization: Bearer {api.token}"),
            *("--generation-deterministic", "--request-timeout", "60", *arguments),
        ],
        cwd=api.project.root,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(hooks)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def applied(project: Project) -> list[str]:
    """Return what the ledger has, in order."""
    if project.execute("SELECT to_regclass('alembic.revision_ledger')") == [(None,)]:
        return []
    return [row[0] for row in project.execute("SELECT revision FROM alembic.revision_ledger ORDER BY id")]
