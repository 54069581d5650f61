"""Processes and servers that a benchmark starts: they end with it, also when it is interrupted.

`subprocess.run` gives a process a quarter of a second after Ctrl-C, which is too short to stop a server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from monarch_dagster.interrupts import Interrupted, interruptible, uninterrupted
from monarch_dagster.postgres.embedded import EmbeddedCluster, shadow_cluster, target_cluster

# How long a process may take to stop its servers.
END_SECONDS = 60


def ending(main: Callable[[], None]) -> None:
    """Run `main`; Ctrl-C and SIGTERM end it after what it started, with the exit code that a shell gives for them."""
    with interruptible() as exit_code:
        try:
            main()
        except Interrupted:
            sys.exit(exit_code() or 128 + signal.SIGINT)


def output_of(*arguments: str) -> str:
    """Run Python with `arguments` to its end; return what it prints. What it says on stderr is let through.

    Raises `CalledProcessError` where its exit code is not 0.
    """
    with started(*arguments) as process:
        output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments, output)
    return output


@contextmanager
def started(
    *arguments: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    log: IO[str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Start Python with `arguments`; what it prints goes into a pipe, or with what it says on stderr into `log`.

    At the end it is told to end, and after a minute at the latest what is left of its group is killed.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=log or subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with uninterrupted():
            _end(process)


@contextmanager
def embedded_servers(home: Path) -> Iterator[tuple[EmbeddedCluster, EmbeddedCluster]]:
    """Start the embedded servers of `home`, for targets and for shadows, and stop them at the end."""
    targets, shadows = target_cluster(home), shadow_cluster(home)
    try:
        with uninterrupted():  # one that is half started could not be stopped
            for cluster in (targets, shadows):
                cluster.url("postgres")
        yield targets, shadows
    finally:
        with uninterrupted():
            targets.stop()
            shadows.remove()


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=END_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
