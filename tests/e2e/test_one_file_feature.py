"""A feature is one file in cogs/: the page on features shows one, and dropped in it brings all that it declares.

Nothing else of the program is changed; everything that it has posted works after a restart, and says so in a sentence
when the file is taken away again.
"""

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.config import ROOT
from tests.harness.control_client import ControlRefused, Json
from tests.harness.headless_bot import FAKE_WORKER
from tests.harness.running_sandbox import RunningSandbox, running_sandbox
from tests.harness.sandboxed_bot import EDITS, WAIT_MS, eventually, labels

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "features.md"


def feature() -> str:
    """The whole file that the page on features shows."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def program(folder: Path) -> Path:
    """The program as it is, in a folder of its own, so that a file can be dropped into it."""
    for name in ("bot", "cogs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "bot.py", folder)
    for name in ("core", "storage", "models", "models.toml", "tests"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@asynccontextmanager
async def bot_of(program: Path, sandbox: RunningSandbox) -> AsyncIterator[None]:
    """`python bot.py` of this program, online until the block ends."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "DISCORD_"))}
    worker = " ".join((*FAKE_WORKER, "--step-ms", "50"))
    ours = {"DARKROOM_DATA": str(program / "data"), "DARKROOM_WORKER_COMMAND": worker}
    log = (program / "log.txt").open("ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "bot.py", cwd=program, env=clean | ours | sandbox.environment, stdout=log, stderr=log
    )

    async def online() -> bool:
        assert process.returncode is None, (program / "log.txt").read_text("utf-8")
        return await answers(sandbox)

    try:
        await eventually(online, 60)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        log.close()


async def answers(sandbox: RunningSandbox) -> bool:
    """Whether a command gets its answer."""
    try:
        answered = await sandbox.control.command(as_="alice", channel="general", name="help")
    except ControlRefused:  # nobody has registered it yet
        return False
    return bool(answered["response"]["kind"] == "message")


async def message_of(sandbox: RunningSandbox, name: str, **options: str) -> Json:
    """The message that answers a command."""
    answered = await sandbox.control.command(as_="alice", channel="general", name=name, options=options)
    found: Json = answered["response"]["message"]
    return found


async def try_all(sandbox: RunningSandbox, grid: Json, menu: Json) -> None:
    """The select, the button's form with the job's prompt, and what comes of both."""
    chosen = await sandbox.control.press(as_="alice", message=menu["id"], custom_id="ask:mood", values=["wild"])
    assert chosen["response"]["message"]["content"] == f"wild it is, for {menu['id']}"
    assert chosen["response"]["ephemeral"]
    form = await sandbox.control.press(as_="bob", message=grid["id"], label="Reword")
    assert form["response"]["kind"] == "modal"
    (field,) = form["response"]["modal"]["fields"]
    assert (field["custom_id"], field["value"]) == ("words", "a red boat")
    done = await sandbox.control.submit(as_="bob", interaction=form["interaction"], values={"words": "a blue boat"})
    assert done["response"]["message"]["content"] == f"a red boat -> a blue boat at {grid['id']}"


async def cancel_from_a_list(sandbox: RunningSandbox) -> None:
    """A list in a message of its own, whose buttons change that message."""
    waiting = await message_of(sandbox, "imagine", prompt="a long wait --steps 100")
    menu = await message_of(sandbox, "moods")
    shown = await sandbox.control.press(as_="alice", message=menu["id"], label="My jobs")
    assert shown["response"]["kind"] == "update" and shown["response"]["message"]["content"] == "- a long wait"
    refused = await sandbox.control.press(as_="carol", message=menu["id"], label="Cancel")
    assert refused["response"]["ephemeral"] and "Only the person who asked" in refused["response"]["message"]["content"]
    after = await sandbox.control.press(as_="alice", message=menu["id"], label="Cancel")
    assert after["response"]["kind"] == "update"
    await sandbox.control.wait(
        as_="alice", channel="general", message=waiting["id"], content_contains="Cancelled", timeout_ms=WAIT_MS
    )


async def test_a_file_dropped_into_cogs_serves_a_command_a_button_with_a_form_and_a_select(tmp_path: Path) -> None:
    ours = program(tmp_path / "program")
    dropped = ours / "cogs" / "moods.py"
    dropped.write_text(feature(), "utf-8")
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        await sandbox.control.limits(buckets={EDITS: None})
        async with bot_of(ours, sandbox):
            grid = await message_of(sandbox, "imagine", prompt="a red boat")
            grid = await sandbox.control.wait(
                as_="alice", channel="general", message=grid["id"], button="ⓘ", timeout_ms=WAIT_MS
            )
            assert labels(grid)[-1] == "Reword"
            menu = await message_of(sandbox, "moods")
            await try_all(sandbox, grid, menu)
            await cancel_from_a_list(sandbox)
        async with bot_of(ours, sandbox):
            await try_all(sandbox, grid, menu)
            await try_all(sandbox, grid, await message_of(sandbox, "moods"))
        dropped.unlink()
        async with bot_of(ours, sandbox):
            for press in ({"label": "Reword", "message": grid["id"]}, {"values": ["calm"], "message": menu["id"]}):
                more = {"custom_id": "ask:mood"} if "values" in press else {}
                gone = await sandbox.control.press(as_="alice", **press, **more)
                assert gone["response"]["ephemeral"]
                assert "no longer installed here" in gone["response"]["message"]["content"]


async def test_a_feature_that_cannot_be_loaded_is_named_with_the_cure(tmp_path: Path) -> None:
    ours = program(tmp_path / "program")
    (ours / "cogs" / "moods.py").write_text("import nothing_of_that_name\n", "utf-8")
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        with pytest.raises(AssertionError) as ended:
            async with bot_of(ours, sandbox):
                pass
    assert "darkroom: cogs/moods.py cannot be loaded: ModuleNotFoundError" in str(ended.value)
    assert "take it out of that folder." in str(ended.value)
