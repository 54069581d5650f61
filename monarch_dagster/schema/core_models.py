"""Loading the core models: all that a module, or a package and its submodules, declares.

The import runs in a process of its own, so a long-lived code server never sees yesterday's models. Run as a script,
this module is that process: it imports, has what was found reduced to plain SQLAlchemy, and hands it over pickled.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import json
import os
import pickle
import pkgutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import IO, Any, ClassVar

from dotenv import dotenv_values
from sqlalchemy import MetaData

from monarch_dagster.errors import MonarchError
from monarch_dagster.schema.constraints import allow_nameless_checks
from monarch_dagster.schema.declared import CoreModels
from monarch_dagster.schema.gather import gather, unite

IMPORT_SECONDS = 120
_CARRIED_MODULES = frozenset({"sqlalchemy", "builtins", "collections", "copyreg", "datetime", "decimal", "uuid"})


@contextmanager
def importing(module: str, root: Path) -> Iterator[Callable[[], bytes]]:
    """Begin to import `module` in a fresh process, with `root` first on its path; it ends with the context.

    Gives what waits for it and returns all that it declares, pickled. What an import looks at cannot be told, so each
    command imports anew; where the models declare the same, the bytes are the same. It raises `MonarchError` when the
    module does not import, declares nothing, or declares something twice or without a schema.
    """
    with tempfile.NamedTemporaryFile(prefix="monarch-models-") as handover, tempfile.TemporaryFile() as said:
        # No pipes: what the models start may hold them open, or fill them.
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, module, handover.name],
            cwd=root,
            env=_environment(root),
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        with process:
            try:
                yield cache(partial(_imported, module, process, Path(handover.name), said))
            finally:
                process.kill()


def import_core_models(module: str, root: Path) -> bytes:
    """Import `module` and return all that it declares, pickled. Raises `MonarchError` as `importing` does."""
    with importing(module, root) as imported:
        return imported()


def read_core_models(content: bytes) -> CoreModels:
    """Return what `import_core_models` found."""
    # Copied once more: what types do when their table is created does not come through a pickle.
    models: CoreModels = _Handover(io.BytesIO(content)).load()
    return replace(models, metadata=unite(models.metadata.tables.values()))


def load_core_models(module: str, root: Path) -> CoreModels:
    """Import `module` and return all that it declares. Raises `MonarchError` as `import_core_models` does."""
    return read_core_models(import_core_models(module, root))


def _imported(module: str, process: subprocess.Popen[bytes], handover: Path, said: IO[bytes]) -> bytes:
    """Wait for the process that imports, and return what it hands over; what it said is in a file."""
    try:
        code = process.wait(IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        raise MonarchError(
            f"Importing the core models {module} took longer than {IMPORT_SECONDS} seconds.",
            remedy="Models declare tables; move what else the module does out of its import.",
        ) from None
    content = handover.read_bytes()
    if code == 0 and content:
        return content
    try:
        failure = json.loads(content)
    except ValueError:
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines and code else f"their process ended, with exit code {code}"
        failure = {"message": f"The core models {module} could not be imported: {last}", "remedy": "Correct them."}
    raise MonarchError(failure["message"], remedy=failure["remedy"])


def _environment(root: Path) -> dict[str, str]:
    """Return the variables of a process that imports models: Dagster, too, gives its processes those of `.env`."""
    given = {name: value for name, value in dotenv_values(root / ".env").items() if value is not None}
    # Strings are hashed alike each time, so that what is handed over is the same for the same models.
    return {**given, **os.environ, "PYTHONHASHSEED": "0"}


def source_files(module: str, root: Path) -> list[Path]:
    """Return the Python files of `module` (and of its submodules, for a package), sorted, without importing it.

    Raises `MonarchError` when there is no such module.
    """
    places = source_places(module, root)
    return sorted(path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place]))


def source_places(module: str, root: Path) -> list[Path]:
    """Return the file of `module`, or for a package the folders that it is in, without importing it.

    Raises `MonarchError` when there is no such module.
    """
    spec, places = None, [str(root), *sys.path]
    importlib.invalidate_caches()
    for end in range(1, module.count(".") + 2):
        # Not importlib.util.find_spec: it imports the packages on the way.
        spec = PathFinder.find_spec(".".join(module.split(".")[:end]), places)
        if spec is None:
            break
        places = list(spec.submodule_search_locations or ())
    if spec is None or spec.origin is None:
        raise _not_found(module)
    return [Path(place) for place in spec.submodule_search_locations or [spec.origin]]


def source_digest(module: str, root: Path) -> str:
    """Return the SHA-256 of the models' files, in hex: their names and contents, never their times.

    Raises `MonarchError` when there is no such module, or a file of it cannot be read.
    """
    digest = hashlib.sha256()
    for path in source_files(module, root):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise MonarchError(f"{path} could not be read: {error.strerror}.", remedy="Try again.") from None
        digest.update(f"{path.name}\0".encode() + content + b"\0")
    return digest.hexdigest()


class _Handover(pickle.Unpickler):
    """Reads what the import process handed over: SQLAlchemy's own classes and plain values, no code of the models."""

    def find_class(self, module: str, name: str) -> Any:
        if module == CoreModels.__module__ or module.partition(".")[0] in _CARRIED_MODULES:
            return super().find_class(module, name)
        raise MonarchError(
            f"The core models use {module}.{name} in what they declare, which cannot be written in a revision.",
            remedy="Use SQLAlchemy's own constructs in indexes, constraints and table options.",
        )


class _Pickler(pickle._Pickler):
    """Writes the members of a set in an order of their own; in memory it follows from their addresses."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_set(self, found: set[Any]) -> None:
        self.save_reduce(set, (sorted(found, key=_place),), obj=found)  # type: ignore[attr-defined]

    dispatch[set] = save_set


def _place(item: Any) -> tuple[str, ...]:
    said = [str(getattr(item, name, "")) for name in ("name", "target_fullname")]
    said += [str(getattr(getattr(item, name, None), "name", "")) for name in ("parent", "constraint")]
    return type(item).__name__, *said


def _pickled(models: CoreModels) -> bytes:
    for table in models.metadata.tables.values():
        # They were copied out of a set, and numbered as they came.
        for number, constraint in enumerate(sorted(table.constraints, key=_place)):
            constraint._creation_order = number
    # By what foreign keys refer to, in the order in which they came.
    memos = models.metadata._fk_memos
    items = [(key, sorted(keys, key=lambda key: (key.parent.table.key, *_place(key)))) for key, keys in memos.items()]
    memos.clear()
    memos.update(sorted(items, key=lambda item: (item[0][0], str(item[0][1]))))
    content = io.BytesIO()
    _Pickler(content).dump(models)
    return content.getvalue()


def _modules(name: str) -> Iterator[ModuleType]:
    module = importlib.import_module(name)
    yield module
    for item in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        yield importlib.import_module(item.name)


def _metadata_in(modules: Iterable[ModuleType]) -> list[MetaData]:
    found: dict[int, MetaData] = {}
    for module in modules:
        for value in vars(module).values():
            candidate = value if isinstance(value, MetaData) else getattr(value, "metadata", None)
            if isinstance(candidate, MetaData):
                found[id(candidate)] = candidate
    return list(found.values())


def _not_found(module: str) -> MonarchError:
    return MonarchError(
        f"There is no module {module!r} to take the core models from.",
        remedy="Set MONARCH_CORE_MODELS to a module that Python can import from the project root, or unset it.",
    )


def _collect(name: str) -> CoreModels:
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        raise _not_found(name)
    allow_nameless_checks()
    try:
        modules = list(_modules(name))
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise _not_found(name) from None
        raise _broken(name, error) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a person's module may raise anything when imported
        raise _broken(name, error) from None
    models = gather(_metadata_in(modules))
    if not (models.metadata.tables or models.views or models.enums or models.sequences):
        raise MonarchError(
            f"The core models {name} declare no table.",
            remedy="A source that declares nothing is not a wish to drop everything: check MONARCH_CORE_MODELS.",
        )
    return models


def _broken(name: str, error: BaseException) -> MonarchError:
    frames = traceback.extract_tb(error.__traceback__)
    foreign = ("importlib", f"{os.sep}sqlalchemy{os.sep}", __file__)
    own = [frame for frame in frames if not any(place in frame.filename for place in foreign)]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    reason: object = error
    if isinstance(error, SyntaxError):
        place, reason = f" ({error.filename}, line {error.lineno})", error.msg
    return MonarchError(
        f"The core models {name} do not import: {type(error).__name__}: {reason}{place}",
        remedy="Correct the models; nothing was generated.",
    )


def _main(name: str, handover: str) -> int:
    # What nearly all models import may come from a cache, unlike the models themselves.
    importlib.import_module("sqlalchemy.orm")
    # A cached .pyc is trusted by time and size; an edit within a second could be missed.
    with tempfile.TemporaryDirectory() as empty:
        sys.pycache_prefix, sys.dont_write_bytecode = empty, True
        try:
            models = _collect(name)
            try:
                content = _pickled(models)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise _broken(name, error) from None
        except MonarchError as error:
            Path(handover).write_text(json.dumps({"message": error.message, "remedy": error.remedy}))
            return 1
    Path(handover).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
