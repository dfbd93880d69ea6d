"""The bot as a child: told where Discord is, stopped gently, gone with its parent, and its end is said."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from sandbox.bot_process import BotProcess
from tests.harness.running_sandbox import ROOT

BOT = """
import os, signal, sys, time, pathlib
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path("stopped").write_text("gently"), sys.exit(0)))
pathlib.Path("joined").write_text(f"{os.getpid()} {os.environ['DISCORD_API_URL']} {os.environ['DISCORD_TOKEN']}")
time.sleep(60)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "bot.py").write_text(BOT)
    return tmp_path / "bot.py"


async def appears(path: Path, seconds: float = 10) -> str:
    """What another process writes; a file tells of itself no other way than by being looked for."""

    def text() -> str:
        return path.read_text() if path.exists() else ""

    async with asyncio.timeout(seconds):
        while not (found := text()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return found


async def test_bot_is_told_where_to_go_and_stopped_gently(program: Path) -> None:
    bot = await BotProcess.start("http://127.0.0.1:1", "sandbox", program=program)
    assert (await appears(program.parent / "joined")).endswith("http://127.0.0.1:1 sandbox")
    await bot.stop()
    assert (program.parent / "stopped").read_text() == "gently"
    assert "ended with status 0" in await bot.ended()


@pytest.mark.crash
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's death")
async def test_bot_goes_when_the_sandbox_is_killed(program: Path) -> None:
    starter = (
        "import asyncio, pathlib\n"
        "from sandbox.bot_process import BotProcess\n"
        "async def main():\n"
        f"    await BotProcess.start('http://x', 'sandbox', program=pathlib.Path({str(program)!r}))\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", starter, cwd=ROOT)
    await appears(program.parent / "joined")
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    assert await appears(program.parent / "stopped") == "gently"


async def test_sandbox_says_that_its_bot_has_ended_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text("raise SystemExit(3)")
    bot = await BotProcess.start("http://x", "sandbox", program=tmp_path / "bot.py")
    assert "ended with status 3" in await bot.ended()


async def test_sandbox_stops_on_sigterm(tmp_path: Path) -> None:
    arguments = ["-m", "sandbox", "--port", "0", "--data", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, env=os.environ | {"DISCORD_TOKEN": ""}
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    assert line.startswith("Darkroom's sandbox is at http://127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0


async def test_the_line_that_starts_the_bot_again_finds_the_same_data_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "with blank").mkdir()
    program = tmp_path / "with blank" / "bot.py"
    program.write_text("import os, pathlib; print(os.getcwd(), os.environ['DARKROOM_DATA'], flush=True)")
    monkeypatch.setenv("DARKROOM_DATA", "some data")
    monkeypatch.setenv("DARKROOM_WORKER_KEY", "a-secret-key")
    words = await (await BotProcess.start("http://x", "sandbox", program=program)).ended()
    assert "a-secret-key" not in words
    shell = await asyncio.create_subprocess_shell(
        words.splitlines()[-1], cwd="/", stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]}
    )
    said, _ = await asyncio.wait_for(shell.communicate(), 20)
    assert said.decode().strip() == f"{program.parent} some data"
