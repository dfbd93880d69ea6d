"""A start while Discord is broken, busy or keeps this address out: it waits, says so in a line, and then serves."""

import time

import pytest

from bot.interactions import DarkroomBot, Unreachable, command_registration, login, point_at
from bot.main import build
from core.errors import ConfigError
from tests.harness.running_sandbox import running_sandbox
from tests.harness.sandboxed_bot import config, eventually, running_bot

ME, APPLICATION, COMMANDS = "/users/@me", "/oauth2/applications/@me", "/applications/*/commands"


async def logged_in(sandbox, data):
    """A bot that is let in, as the start does it."""
    chosen = config(sandbox, data, "", DARKROOM_WORKER="none")
    point_at(chosen.api_url)
    async with build(chosen) as parts, DarkroomBot(parts.services) as bot:
        await login.log_in(bot, chosen.token)


@pytest.mark.parametrize("route", [ME, APPLICATION])
@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 429, "page": True}, {"status": 403, "page": True}, {"status": 200, "page": True},
     {"status": 408, "page": True}, {"status": 502, "drop": "before"}],
    ids=["503", "429 page", "403 page", "200 page", "408 page", "connection lost"],
)  # fmt: skip
async def test_a_login_that_is_refused_for_now_is_tried_again_and_said_in_one_line(
    tmp_path, caplog, monkeypatch, route, fault
):
    monkeypatch.setattr(login, "FIRST_SECONDS", 0.05)
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        await sandbox.control.fault("GET", route, times=2, **fault)
        await logged_in(sandbox, tmp_path / "data")
    said = [record.getMessage() for record in caplog.records if "does not let the bot in" in record.getMessage()]
    assert said, "a lost connection is tried once more by the HTTP client itself"
    assert not any("\n" in line or "<" in line or len(line) > 250 for line in said)


async def test_a_page_that_says_when_to_come_back_is_obeyed(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(login, "FIRST_SECONDS", 0.01)
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        await sandbox.control.fault("GET", ME, status=429, page=True, retry_after=1.5)
        before = time.monotonic()
        await logged_in(sandbox, tmp_path / "data")
        assert time.monotonic() - before >= 1.5
    assert "429 Too Many Requests, a page instead of an answer" in caplog.text


@pytest.mark.parametrize(("status", "code", "error"), [(401, 0, ConfigError), (400, 50035, Unreachable)])
async def test_a_login_that_is_refused_for_good_ends_with_a_sentence(tmp_path, status, code, error):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        await sandbox.control.fault("GET", ME, status=status, code=code)
        with pytest.raises(error):
            await logged_in(sandbox, tmp_path / "data")


@pytest.mark.parametrize("changed", [True, False])
async def test_commands_that_cannot_be_registered_today_stop_nobody(tmp_path, caplog, changed):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data") as bot:
            if changed:
                await bot.parts.services.settings.put_state("commands:hash", "another")
        fault = {"status": 400, "code": 30034, "times": 1000}
        await sandbox.control.fault("PUT" if changed else "GET", COMMANDS, **fault)
        async with running_bot(sandbox, tmp_path / "data") as bot:
            assert (await bot.done(await bot.imagine("a red boat")))["attachments"]
    (said,) = [r.getMessage() for r in caplog.records if "commands could not be registered" in r.getMessage()]
    assert "30034" in said and "\n" not in said


async def test_commands_are_registered_once_discord_takes_them(tmp_path, monkeypatch):
    monkeypatch.setattr(command_registration, "START_SECONDS", 0.01)
    monkeypatch.setattr(command_registration, "FIRST_SECONDS", 0.05)
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        await sandbox.control.fault("PUT", COMMANDS, status=503, times=3)
        async with running_bot(sandbox, tmp_path / "data") as bot:

            async def there():
                return (await bot.control.state())["commands"]

            assert {command["name"] for command in await eventually(there)} >= {"imagine", "info"}


async def test_commands_that_others_added_are_no_reason_to_register_ours_again(tmp_path):
    async with running_sandbox(tmp_path / "sandbox") as sandbox:
        async with running_bot(sandbox, tmp_path / "data") as bot:
            application = bot.client.application_id
        sandbox.inside.world.put(
            "command",
            "1",
            {"id": "1", "type": 4, "name": "launch", "application_id": str(application), "description": ""},
        )
        async with running_bot(sandbox, tmp_path / "data") as bot:
            assert len(await bot.requests("PUT", "/commands")) == 1
