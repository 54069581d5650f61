"""The collector is held off while much is built, and what was built is freed without it."""

from __future__ import annotations

import gc
import weakref

import pytest
from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, Table

from monarch_dagster.memory import forgetting, take_apart, uncollected


def test_the_collector_is_held_off_and_works_again_also_after_an_error() -> None:
    with pytest.raises(ValueError, match="inside"), uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise ValueError("inside")
    assert gc.isenabled()


def test_what_is_in_use_no_more_is_freed_while_the_collector_is_held_off() -> None:
    class Knot:
        def __init__(self) -> None:
            self.self = self

    with forgetting() as forget:
        knot = Knot()
        gone = weakref.ref(knot)
        del knot
        assert gone() is not None
        forget()
        assert gone() is None


def test_tables_that_are_taken_apart_are_freed_without_the_collector() -> None:
    metadata = MetaData()
    Table("a", metadata, Column("id", Integer, primary_key=True), Column("b_id", ForeignKey("b.id")))
    table = Table("b", metadata, Column("id", Integer, primary_key=True), Column("n", Integer), Index("ix_b_n", "n"))
    gone = [weakref.ref(table), *map(weakref.ref, table.columns)]
    with uncollected():
        take_apart(metadata.tables.values())
        del metadata, table
        assert [found() for found in gone] == [None] * len(gone)
