"""A status is shared by those who wait for one, and none is older than the call that it answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from monarch_dagster.api import lanes
from monarch_dagster.api.processes import Ending
from monarch_dagster.errors import MonarchError


class Reading:
    """Stands for the process that reads: it ends when it is told to."""

    begun: list[Reading]

    def __init__(self, *_called: Any) -> None:
        self.ends: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self.begun.append(self)

    async def run(self) -> Ending:
        return await self.ends


@pytest.fixture(autouse=True)
def _readings(monkeypatch: pytest.MonkeyPatch) -> None:
    Reading.begun = []
    monkeypatch.setattr(lanes, "Child", Reading)


def test_who_comes_while_one_is_read_shares_the_next_one() -> None:
    async def story() -> None:
        reader = lanes.StatusReader()
        first = asyncio.create_task(reader.read())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        others = [asyncio.create_task(reader.read()) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert len(Reading.begun) == 1
        Reading.begun[0].ends.set_result(Ending(0, {"read": 1}))
        assert await first == {"read": 1}
        await asyncio.sleep(0.01)
        assert not any(other.done() for other in others)
        Reading.begun[1].ends.set_result(Ending(0, {"read": 2}))
        assert await asyncio.gather(*others) == [{"read": 2}] * 5
        assert len(Reading.begun) == 2

    asyncio.run(story())


def test_a_caller_who_hangs_up_takes_it_from_no_other_and_an_error_is_told_to_all() -> None:
    async def story() -> None:
        reader = lanes.StatusReader()
        callers = [asyncio.create_task(reader.read()) for _ in range(3)]
        await asyncio.sleep(0.01)
        callers[0].cancel()
        Reading.begun[0].ends.set_result(Ending(1, error=MonarchError("out of reach")))
        told = await asyncio.gather(*callers, return_exceptions=True)
        assert [str(each) for each in told[1:]] == ["out of reach"] * 2

    asyncio.run(story())


def test_a_process_that_dies_is_told() -> None:
    async def story() -> None:
        caller = asyncio.create_task(lanes.StatusReader().read())
        await asyncio.sleep(0.01)
        Reading.begun[0].ends.set_result(Ending(-9))
        with pytest.raises(MonarchError, match="ended with exit code -9"):
            await caller

    asyncio.run(story())
