"""Commands, answers, edits, follow-ups and private messages, by real discord.py."""

from tests.harness.control_client import file
from tests.harness.running_sandbox import RunningSandbox
from tests.sandbox.sample_bot import PNG, SampleBot


async def test_command_is_answered_and_edited_by_token_and_by_channel(sandbox: RunningSandbox, bot: SampleBot) -> None:
    answer = await sandbox.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a boat"})
    assert answer["response"]["kind"] == "message"
    assert answer["ack_ms"] < 1000
    message = await sandbox.control.wait(as_="alice", channel="general", button="U2", attachments=1)
    assert [state["content"] for state in message["history"]] == [
        "**a boat** third in line",
        "**a boat** 31 %",
        "**a boat** 62 %",
        "**a boat**",
    ]
    assert message["edits"] == 3
    assert [item["filename"] for item in message["attachments"]] == ["grid.png"]
    assert (message["attachments"][0]["width"], message["attachments"][0]["content_type"]) == (1, "image/png")
    assert await sandbox.control.download(message["attachments"][0]["url"]) == PNG


async def test_file_given_to_an_option_reaches_the_bot(sandbox: RunningSandbox, bot: SampleBot) -> None:
    options = {"prompt": "like this", "image": file("cat.png", PNG, "image/png")}
    await sandbox.control.command(as_="bob", channel="general", name="imagine", options=options)
    await sandbox.control.wait(as_="bob", channel="general", content_contains=f"cat.png {len(PNG)}")


async def test_first_follow_up_fills_a_deferred_answer_and_the_next_is_a_message(
    sandbox: RunningSandbox, bot: SampleBot
) -> None:
    answer = await sandbox.control.command(as_="alice", channel="general", name="think")
    assert answer["response"]["kind"] == "deferred"
    loading = answer["response"]["message"]
    assert loading["flags"] & 128
    filled = await sandbox.control.wait(as_="alice", channel="general", content_contains="thought")
    assert (filled["id"], filled["flags"]) == (loading["id"], 0)
    more = await sandbox.control.wait(as_="alice", channel="general", content_contains="one more")
    assert more["ephemeral"]
    assert [m["id"] for m in await sandbox.control.messages(as_="bob", channel="general")] == [loading["id"]]


async def test_private_answer_is_seen_by_its_person_only(sandbox: RunningSandbox, bot: SampleBot) -> None:
    answer = await sandbox.control.command(as_="alice", channel="general", name="think", options={"private": True})
    assert answer["response"]["ephemeral"]
    await sandbox.control.wait(as_="alice", channel="general", content_contains="thought")
    assert await sandbox.control.messages(as_="bob", channel="general") == []


async def test_unanswered_command_ends_with_none_when_its_clock_runs_out(
    sandbox: RunningSandbox, bot: SampleBot
) -> None:
    await sandbox.control.limits(ack_ms=100)
    answer = await sandbox.control.command(as_="alice", channel="general", name="sleep")
    assert (answer["response"]["kind"], answer["ack_ms"]) == ("none", None)


async def test_autocomplete_suggests_and_its_choice_is_not_enforced(sandbox: RunningSandbox, bot: SampleBot) -> None:
    found = await sandbox.control.autocomplete(as_="alice", channel="general", name="style", option="name", value="w")
    assert [choice["value"] for choice in found["choices"]] == ["watercolour", "woodcut"]
    answer = await sandbox.control.command(as_="alice", channel="general", name="style", options={"name": "else"})
    assert answer["response"]["message"]["content"] == "else 5"


async def test_subcommand_is_named_by_its_words(sandbox: RunningSandbox, bot: SampleBot) -> None:
    answer = await sandbox.control.command(
        as_="alice", channel="general", name="prefer suffix", options={"text": "--ar 3:2"}
    )
    assert answer["response"]["message"]["content"] == "suffix --ar 3:2"


async def test_options_carry_channels_members_and_their_permissions(sandbox: RunningSandbox, bot: SampleBot) -> None:
    options = {"where": "gallery", "who": "carol"}
    answer = await sandbox.control.command(as_="bob", channel="general", name="here", options=options)
    assert answer["response"]["message"]["content"] == "gallery carol True"


async def test_message_app_hands_over_the_whole_message(sandbox: RunningSandbox, bot: SampleBot) -> None:
    files = [file("cat.png", PNG)]
    said = await sandbox.control.say(as_="dave", channel="general", content="my cat", files=files)
    answer = await sandbox.control.context_menu(as_="alice", channel="general", name="Cancel Job", message=said["id"])
    assert answer["response"]["message"]["content"] == "cancelled my cat cat.png"


async def test_command_works_in_a_direct_channel(sandbox: RunningSandbox, bot: SampleBot) -> None:
    answer = await sandbox.control.command(as_="alice", channel="dm", name="imagine", options={"prompt": "a moon"})
    assert answer["response"]["kind"] == "message"
    await sandbox.control.wait(as_="alice", channel="dm", button="U1")


async def test_what_people_write_reaches_a_bot_without_content_intent_as_blank(
    sandbox: RunningSandbox, bot: SampleBot
) -> None:
    await sandbox.control.say(as_="alice", channel="general", content="secret")
    await sandbox.control.say(as_="alice", channel="dm", content="for you")
    await bot.until(lambda: len(bot.read) == 2)
    assert [message.content for message in bot.read] == ["", "for you"]


async def test_transcript_keeps_what_was_asked_and_answered(sandbox: RunningSandbox, bot: SampleBot) -> None:
    await sandbox.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a boat"})
    await sandbox.control.wait(as_="alice", channel="general", button="U2")
    entries = [e for e in await sandbox.control.transcript() if e["kind"] == "request"]
    callback = next(e for e in entries if e["route"].endswith("/callback"))
    assert callback["body"]["data"]["content"] == "**a boat** third in line"
    assert callback["answer"]["resource"]["message"]["content"] == "**a boat** third in line"
    edit = next(e for e in entries if e["route"].endswith("/@original") and e["method"] == "PATCH")
    assert edit["body"]["files"][0]["size"] == len(PNG)
    assert edit["bucket"]
