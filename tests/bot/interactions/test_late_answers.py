"""A job whose first answer comes after Discord's three seconds is answered in its channel, or taken back."""

from core.job import State
from tests.harness.sandboxed_bot import eventually, labels, sandboxed_bot

ANSWER = "/interactions/*/*/callback"
SEND = "/channels/*/messages"
TOO_LATE = {"status": 404, "code": 10062}


async def asked_too_late(bot):
    """A job whose answer Discord does not take any more."""
    await bot.control.limits(ack_ms=500)
    await bot.control.fault("POST", ANSWER, **TOO_LATE)
    await bot.control.command(as_="bob", channel="general", name="imagine", options={"prompt": "a red boat"})


async def test_a_job_that_was_admitted_too_late_has_its_message_and_cancel_in_the_channel(tmp_path):
    async with sandboxed_bot(tmp_path, "--step-ms 200") as bot:
        await asked_too_late(bot)

        async def there():
            return await bot.control.messages(as_="bob", channel="general")

        (message,) = await eventually(there)
        assert "red boat" in message["content"] and "Cancel" in labels(message)
        await bot.control.press(as_="bob", message=message["id"], label="Cancel")
        assert len(await there()) == 1


async def test_where_the_bot_may_not_write_such_a_job_is_taken_back_free_of_charge(tmp_path):
    async with sandboxed_bot(tmp_path, DARKROOM_WORKER="none") as bot:
        await bot.control.fault("POST", SEND, times=50, status=403, code=50013)
        await asked_too_late(bot)

        async def jobs():
            return await bot.parts.services.db.read("SELECT state, charged_ms FROM job WHERE finished_at IS NOT NULL")

        (job,) = await eventually(jobs)
        assert job["state"] in (State.CANCELLED, State.FAILED) and job["charged_ms"] == 0
