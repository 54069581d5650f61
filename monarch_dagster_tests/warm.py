"""Commands in processes of their own that need not import everything anew: a second or more each time. No tests.

Python's own fork server has imported what the commands import; a command is a fork of it, with its own folder,
environment and output. Tests of imports, signals and kills start a whole Python instead.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

_PRELOADED = ["monarch_dagster.cli", "monarch_dagster.local", "monarch_dagster.defs.running", "alembic.command"]
_TIMEOUT_SECONDS = 120
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(_PRELOADED)


def run(
    module: str, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module arguments` in `folder`, in that environment and no other; return how it ended."""
    with tempfile.TemporaryDirectory() as kept:
        printed, said = Path(kept, "stdout"), Path(kept, "stderr")
        process = _processes.Process(target=_become, args=(module, arguments, folder, dict(environment), printed, said))
        process.start()
        process.join(_TIMEOUT_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([module, *arguments], _TIMEOUT_SECONDS)
        return subprocess.CompletedProcess(
            [module, *arguments], process.exitcode, printed.read_text(), said.read_text()
        )


def _become(
    module: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], printed: Path, said: Path
) -> None:
    for number, path in ((1, printed), (2, said)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    sys.path.insert(0, str(folder))
    warnings.simplefilter(environment.get("PYTHONWARNINGS", "default"))  # type: ignore[arg-type]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        # Processes of `multiprocessing` leave without it.
        atexit._run_exitfuncs()
