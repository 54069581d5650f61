"""What the tests of the API share: a server process, and calls over HTTP. No tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from monarch_dagster.postgres.engines import connect
from monarch_dagster_tests.support import Project

TOKEN = "a-token-of-the-tests"
_SECONDS = 60


@dataclass
class Api:
    """A running `monarch api`."""

    project: Project
    process: subprocess.Popen[bytes]
    log: Path
    url: str
    token: str

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, **query: Any) -> Any:
        """Call an endpoint with the right token or the given one ("" for none); `body` is sent as JSON."""
        token = self.token if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.request(method, self.url + path, json=body, params=query, headers=headers, timeout=660)

    def run(self, job: str, body: Any = None, *, code: int = 200, wait: int = 120) -> dict[str, Any]:
        """Start a job and wait for its end; the answer must have that status code."""
        answer = self.call("POST", f"/{job}", body, wait=wait)
        assert answer.status_code == code, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ended(self, run_id: str) -> dict[str, Any]:
        """Ask for a run until it has ended."""
        deadline = time.monotonic() + _SECONDS
        while True:
            answer = self.call("GET", f"/runs/{run_id}")
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            if found["status"] not in ("QUEUED", "STARTED"):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.1)

    def lead_to(self, target: str) -> None:
        """Have the runs that come work on another target, as an edited `.env` does."""
        (self.project.root / ".env").write_text(f"MONARCH_DATABASE_URL='{target}'\n")

    def lead_back(self) -> None:
        """Have the runs that come work on the project's target."""
        self.lead_to(self.project.target.render_as_string(hide_password=False))

    def rows(self, run_id: str) -> list[tuple[str, str]]:
        """Return job and status of a run as Dagster's storage, which the UI reads, has it."""
        with connect(self.project.dagster_url) as connection:
            query = "SELECT pipeline_name, status FROM runs WHERE run_id = %s"
            return [(row[0], row[1]) for row in connection.exec_driver_sql(query, (run_id,))]


@contextmanager
def started(project: Project, *arguments: str, token: str = TOKEN, **extra: str) -> Iterator[Api]:
    """Start `monarch api` in a project, and end it; whatever is left of it is killed."""
    environment = project.environment(MONARCH_API_TOKEN=token, **extra)
    log = project.root / "api.log"
    # In `.env` a test can change it.
    del environment["MONARCH_DATABASE_URL"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "monarch_dagster", "api", "--port", "0", *arguments],
            cwd=project.root,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    api = Api(project, process, log, "", token)
    api.lead_back()
    try:
        deadline = time.monotonic() + _SECONDS
        while (found := re.search(r"listens on (http://\S+);", log.read_text())) is None:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        api.url = found[1]
        yield api
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
