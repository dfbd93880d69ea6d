"""The worker process of this machine: replaced when it dies, and never after a stop."""

import asyncio
import logging
from pathlib import Path

import pytest

from bot.config import Config
from bot.workers import local_process
from bot.workers.local_process import LocalWorker


def worker(tmp_path: Path, command: str, changed=lambda: None, **environ: str) -> LocalWorker:
    environ |= {"DARKROOM_DATA": str(tmp_path), "DARKROOM_WORKER_COMMAND": command}
    config = Config.from_env(environ, tmp_path / "no.env")
    return LocalWorker(config, address="unix:/nowhere", model="postcard", key="k", changed=changed)


async def test_a_cancellation_while_a_dead_worker_is_cleaned_up_ends_its_keeper(tmp_path, monkeypatch):
    keeper = worker(tmp_path, "/bin/true")
    buried = local_process._closed

    async def and_cancelled(process):
        task.cancel()
        await buried(process)

    monkeypatch.setattr(local_process, "_closed", and_cancelled)
    task = asyncio.create_task(keeper.run())
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(20):
            await task
    assert task.cancelled() and keeper.pid is None


async def test_after_a_stop_no_other_worker_follows(tmp_path):
    started = []

    def changed():
        if keeper.pid:
            started.append(keeper.pid)
            keeper.stop()
            keeper.kill()

    keeper = worker(tmp_path, "/bin/sh -c 'sleep 60'", changed)
    async with asyncio.timeout(20):
        await keeper.run()
    assert len(started) == 1


async def test_the_hubs_token_reaches_the_worker_and_the_bots_own_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCORD_TOKEN", "secret")
    said = []

    def changed():
        if keeper.sentence:
            said.append(keeper.sentence)
            keeper.stop()

    command = """/bin/sh -c 'echo "$HF_TOKEN and $DISCORD_TOKEN"; exit 3'"""
    keeper = worker(tmp_path, command, changed, HF_TOKEN="hf_mine")
    async with asyncio.timeout(20):
        await keeper.run()
    assert said == ["The worker ended with code 3: hf_mine and"]


async def test_a_worker_that_is_set_up_wrongly_is_said_once_and_tried_seldom(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            keeper.stop()

    keeper = worker(tmp_path, """/bin/sh -c 'echo "No CUDA."; exit 78'""")
    monkeypatch.setattr(local_process.asyncio, "sleep", sleep)
    async with asyncio.timeout(20):
        await keeper.run()
    assert pauses == [local_process.UNFIT_WAIT_SECONDS] * 3 and local_process.UNFIT_WAIT_SECONDS > 120
    assert [record.getMessage() for record in caplog.records if record.name == "bot.workers.local_process"] == [
        "The worker is starting.",
        "worker: No CUDA.",
        "The worker ended with code 78: No CUDA. It will be tried again every 5 minutes.",
        "worker: No CUDA.",
        "worker: No CUDA.",
    ]


async def test_a_model_that_cannot_be_loaded_is_tried_again_sooner(tmp_path, monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)
        keeper.stop()

    def changed():
        keeper.load_failed("There is no such model.")

    keeper = worker(tmp_path, "/bin/sh -c 'sleep 0.2; exit 78'", changed)
    monkeypatch.setattr(local_process.asyncio, "sleep", sleep)
    async with asyncio.timeout(20):
        await keeper.run()
    assert pauses == [local_process.LOAD_FAILED_WAIT_SECONDS]


async def test_what_the_worker_logs_keeps_its_level_and_gets_one_time(tmp_path, caplog):
    line = "2026-06-15 12:00:00,001 WARNING darkroom.models: The card is full."

    def changed():
        if keeper.sentence:
            keeper.stop()

    keeper = worker(tmp_path, f"""/bin/sh -c 'echo "{line}"; echo bare; exit 3'""", changed)
    with caplog.at_level(logging.INFO):
        async with asyncio.timeout(20):
            await keeper.run()
    said = [(record.levelname, record.getMessage()) for record in caplog.records if "worker: " in record.getMessage()]
    assert said == [("WARNING", "worker: darkroom.models: The card is full."), ("INFO", "worker: bare")]


async def test_a_signal_without_a_name_is_told_by_its_number_and_ends_no_keeper(tmp_path):
    said = []

    def changed():
        if keeper.sentence:
            said.append(keeper.sentence)
            keeper.stop()

    keeper = worker(tmp_path, "/bin/sh -c 'kill -40 $$'", changed)
    async with asyncio.timeout(20):
        await keeper.run()
    assert said == ["The worker was ended by signal 40."]
