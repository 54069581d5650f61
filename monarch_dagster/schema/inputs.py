"""What an import looked at: the files that it opened, the folders that it listed, the variables that it asked for.

By these it is known whether importing again would come to the same. What modules ask a clock or a network for is not
seen.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Kind of input ("file", "folder", "variable") and its name → a digest of what was found, "" where nothing was there.
Inputs = Mapping[str, Mapping[str, str]]
_CACHE = "__pycache__"


def _digest(kind: str, name: str) -> str:
    """Return the SHA-256, in hex, of a file's content, a folder's names or a variable's value; "" for none."""
    try:
        match kind:
            case "file":
                content = Path(name).read_bytes()
            case "folder":
                # Bytecode comes and goes.
                names = sorted(path.name for path in Path(name).iterdir() if path.name != _CACHE)
                content = "\0".join(names).encode(errors="surrogateescape")
            case _:
                content = os.environ[name].encode(errors="surrogateescape")
    except (OSError, KeyError):
        return ""
    return hashlib.sha256(content).hexdigest()


def same(inputs: Inputs) -> bool:
    """Say whether all is as it was found."""
    return all(_digest(kind, name) == found for kind, items in inputs.items() for name, found in items.items())


@contextmanager
def watched(*beside: Path) -> Iterator[dict[str, dict[str, str]]]:
    """Give the inputs of what runs meanwhile, all of them at its end, but for those in the folders `beside`.

    Only for a process that ends afterwards.

    Source: Python, "Audit events table" (`open`, `os.listdir`, `os.scandir`); a hook cannot be taken away.
    """
    found: dict[str, dict[str, str]] = {"file": {}, "folder": {}, "variable": {}}
    watching = True
    ask = os._Environ.__getitem__

    def note(kind: str, name: str) -> None:
        nonlocal watching
        if watching and name not in found[kind]:
            watching = False  # looking is no input
            try:
                found[kind][name] = _digest(kind, name)
            finally:
                watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        kind = {"open": "file", "os.listdir": "folder", "os.scandir": "folder"}.get(event)
        if kind and isinstance(place := arguments[0] or ".", str | bytes):
            path = Path(os.fsdecode(place)).absolute()
            if _CACHE not in path.parts:
                note(kind, str(path))

    def asked(environment: os._Environ[Any], name: Any) -> Any:
        if isinstance(name, str):
            note("variable", name)
        return ask(environment, name)

    sys.addaudithook(hook)
    os._Environ.__getitem__ = asked  # type: ignore[method-assign]
    try:
        yield found
    finally:
        watching = False
        for kind in ("file", "folder"):
            for name in [name for name in found[kind] if any(Path(name).is_relative_to(place) for place in beside)]:
                del found[kind][name]
        os._Environ.__getitem__ = ask  # type: ignore[method-assign]
