"""Room on a disk: asked anew each time, and as it was known last while the disk does not answer."""

import asyncio
import threading
from pathlib import Path

import pytest

from bot import disk_room
from bot.disk_room import DiskRoom


async def test_a_disk_that_stops_answering_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_room, "PATIENCE_SECONDS", 0.01)
    answers, gate = iter((7, 5, 3)), threading.Event()
    gate.set()

    def look(_: Path) -> int:
        gate.wait(30)
        return next(answers)

    room = DiskRoom(tmp_path, look)
    assert await room.free_bytes() == 7
    gate.clear()
    assert [await room.free_bytes() for _ in range(3)] == [7, 7, 7]
    gate.set()
    async with asyncio.timeout(10):
        while (found := await room.free_bytes()) == 7:
            pass
    assert found == 5, "the look under way was the answer; three askers have not looked three times"


async def test_who_asks_is_told_when_nobody_can_say(tmp_path: Path) -> None:
    def look(_: Path) -> int:
        raise OSError("the folder is away")

    with pytest.raises(OSError, match="away"):
        await DiskRoom(tmp_path, look).free_bytes()


async def test_whoever_asks_while_the_first_answer_comes_is_answered(tmp_path: Path) -> None:
    room = DiskRoom(tmp_path, lambda _: 7)

    async def ask(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await room.free_bytes()

    assert set(await asyncio.gather(*(ask(turns) for turns in range(2000)))) == {7}
