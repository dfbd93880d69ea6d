"""The process: what it says and how it exits when it cannot start, and how it stops."""

import asyncio
import json
import os
import shlex
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from bot import health, main
from bot.config import ROOT, Config
from tests.harness.crash_environment import CrashEnvironment, about, until
from tests.harness.headless_bot import FAKE_WORKER
from tests.harness.running_sandbox import RunningSandbox, running_sandbox

TOKEN = "an-unmistakable-token"
pytestmark = pytest.mark.e2e


async def start(data: Path, *arguments: str, **environ: str) -> asyncio.subprocess.Process:
    """`python bot.py` with nothing of this machine's settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "DISCORD_"))}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "bot.py"),
        *arguments,
        cwd=data.parent,
        env=clean | {"DARKROOM_DATA": str(data), "DARKROOM_WORKER": "none"} | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def said(process: asyncio.subprocess.Process) -> str:
    """All its words, once it has ended."""
    async with asyncio.timeout(60):
        return (await process.communicate())[0].decode()


async def test_without_a_token_it_says_how_to_get_one(tmp_path: Path) -> None:
    process = await start(tmp_path / "data")
    assert "DISCORD_TOKEN is empty" in await said(process)
    assert process.returncode == 2


async def test_a_wrong_setting_ends_it_with_one_sentence(tmp_path: Path) -> None:
    process = await start(tmp_path / "data", DARKROOM_RUNNING="many")
    words = await said(process)
    assert words.count("\n") == 1
    assert "DARKROOM_RUNNING" in words
    assert process.returncode == 2


async def test_a_refused_token_ends_it_with_the_cure_and_is_not_repeated(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path / "sandbox", token=TOKEN) as sandbox:
        await sandbox.control.fault("GET", "/users/@me", status=401)
        process = await start(tmp_path / "data", DISCORD_API_URL=sandbox.url, DISCORD_TOKEN=TOKEN)
        words = await said(process)
    assert "Reset Token" in words
    assert TOKEN not in words
    assert process.returncode == 2


async def test_a_discord_that_does_not_answer_is_said_at_once_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    from bot.interactions import Unreachable, until_reachable

    with pytest.raises(Unreachable, match=r"does not answer.*DISCORD_API_URL"):
        await until_reachable("http://127.0.0.1:9", seconds=0.5, silent_seconds=0.0)
    assert [record.getMessage() for record in caplog.records] == [
        "http://127.0.0.1:9 does not answer yet; trying for another 0 s."
    ]


async def test_a_second_bot_on_the_same_data_says_so_and_stops(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path / "sandbox", token=TOKEN) as sandbox:
        environ = {"DISCORD_API_URL": sandbox.url, "DISCORD_TOKEN": TOKEN}
        first = await start(tmp_path / "data", **environ)
        await _online(sandbox)
        second = await start(tmp_path / "data", **environ)
        assert "already running" in await said(second)
        assert second.returncode == 3
        first.terminate()
        words = await said(first)
        assert first.returncode == 0, words
        assert TOKEN not in words


async def test_sigterm_in_the_middle_of_a_job_loses_nothing_and_ends_in_time(tmp_path: Path) -> None:
    command = shlex.join([*FAKE_WORKER, "--step-ms", "400"])
    async with running_sandbox(tmp_path / "sandbox", token=TOKEN) as sandbox:
        lane = CrashEnvironment(tmp_path, sandbox, {})
        environ = {
            "DISCORD_API_URL": sandbox.url,
            "DISCORD_TOKEN": TOKEN,
            "DARKROOM_WORKER": "local",
            "DARKROOM_WORKER_COMMAND": command,
            "DARKROOM_LOG": "debug",
        }
        bot = await start(lane.data, **environ)
        await _online(sandbox)
        options = {"prompt": "a red boat --steps 100 --seed 1"}
        await sandbox.control.command(as_="alice", channel="general", name="imagine", options=options)
        await until(lambda: _running(lane), "the job to run")
        began = time.monotonic()
        bot.terminate()
        words = await said(bot)
        assert time.monotonic() - began < 20
        assert bot.returncode == 0, words
        assert TOKEN not in words
        (row,) = lane.rows("SELECT * FROM job")
        assert row["token"] not in words
        assert (row["state"], row["strikes"]) == ("queued", 0)
        assert "Darkroom is restarting, then this continues" in (await lane.messages())[-1]["content"]
        quick = {"DARKROOM_WORKER_COMMAND": shlex.join([*FAKE_WORKER, "--step-ms", "1"])}
        again = await start(lane.data, **(environ | quick))
        await lane.settled()
        again.terminate()
        await said(again)
        assert len(about(row["id"], await lane.messages())) == 1
        assert await lane.audit() == []


async def _running(lane: CrashEnvironment) -> bool:
    return any(row["state"] == "running" for row in lane.rows("SELECT state FROM job"))


async def _online(sandbox: RunningSandbox) -> None:
    async def look() -> bool:
        return bool((await sandbox.control.state())["application"]["online"])

    await until(look, "the bot online")


async def test_the_doctor_finds_what_is_wrong_and_says_the_cure(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path / "sandbox", token=TOKEN) as sandbox:
        fine = await start(tmp_path / "data", "doctor", DISCORD_API_URL=sandbox.url, DISCORD_TOKEN=TOKEN)
        words = await said(fine)
        assert "Invite it with" in words
        assert TOKEN not in words
    wrong = await start(tmp_path / "data", "doctor", DARKROOM_MODEL="./nowhere", DISCORD_API_URL="http://127.0.0.1:9")
    words = await said(wrong)
    assert "no such folder" in words
    assert "does not answer" in words
    assert wrong.returncode == 1


async def test_the_doctor_tries_the_worker_with_the_settings_of_the_bot(tmp_path: Path) -> None:
    environ = {"DARKROOM_WORKER": "local", "DARKROOM_DEVICE": "cuda:99", "DISCORD_API_URL": "http://127.0.0.1:9"}
    process = await start(tmp_path / "data", "doctor", **environ)
    words = await said(process)
    assert "ok    Worker: torch" in words
    assert "WRONG Worker:" in words and "CUDA" in words
    assert process.returncode == 1


async def test_unknown_words_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    process = await start(tmp_path / "data", "dance")
    assert "python bot.py doctor" in await said(process)
    assert process.returncode == 2


def test_a_database_that_breaks_while_the_bot_runs_ends_it_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def breaks(config: Config) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise ExceptionGroup("in a task", [error])

    monkeypatch.setattr(main, "serve", breaks)
    # It is for a whole process: tests that follow in this one would log to what is closed by then.
    monkeypatch.setattr(main.log_setup, "set_up", lambda *_: None)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    assert main.main([]) == main.EXIT_CONFIG
    said = capsys.readouterr().err
    assert "darkroom.sqlite3 is damaged" in said and "Put a backup in its place" in said


def test_health_reads_the_sign_of_life(tmp_path: Path) -> None:
    assert health.check(tmp_path, 100.0) == (False, f"No bot is running on {tmp_path}.")
    sign = {"at": 100.0, "connected": True, "worker": "online"}
    (tmp_path / "health.json").write_text(json.dumps(sign))
    assert health.check(tmp_path, 110.0)[0]
    assert not health.check(tmp_path, 200.0)[0]
    (tmp_path / "health.json").write_text(json.dumps(sign | {"connected": False}))
    assert "does not answer" in health.check(tmp_path, 110.0)[1]
    (tmp_path / "health.json").write_text("half a li")
    assert "cannot be read" in health.check(tmp_path, 110.0)[1]


async def test_sigterm_ends_a_bot_that_still_waits_for_discord(tmp_path: Path) -> None:
    bot = await start(tmp_path / "data", DISCORD_API_URL="http://127.0.0.1:9")

    async def there() -> bool:
        return await asyncio.to_thread((tmp_path / "data" / "health.json").exists)

    await until(there, "the bot's sign of life")
    bot.terminate()
    await said(bot)
    assert bot.returncode == 0
    assert health.check(tmp_path / "data", time.time()) == (False, f"No bot is running on {tmp_path / 'data'}.")
