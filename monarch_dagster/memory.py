"""Memory: the cyclic garbage collector held off while much is built, and what was built freed without it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Table


@contextmanager
def uncollected() -> Iterator[None]:
    """Hold the cyclic garbage collector off while much is built that stays.

    It looks at all that is there again and again meanwhile: of 90,000 columns two thirds of the time.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def forgetting() -> Iterator[Callable[[], object]]:
    """Hold the collector off, and give what frees all that is built meanwhile and in use no more.

    What is there already is not looked at.
    """
    with uncollected():
        gc.freeze()
        try:
            yield gc.collect
        finally:
            gc.unfreeze()


def take_apart(tables: Iterable[Table]) -> None:
    """Free tables that nobody uses any more, with all that they are made of; what is left of them cannot be used.

    They refer to each other. The collector would look at all that is in them first, which takes as long as declaring.
    """
    for table in tables:
        for part in [*table.columns, *table.constraints, *table.foreign_keys, *table.indexes]:
            part.__dict__.clear()
        table.__dict__.clear()
