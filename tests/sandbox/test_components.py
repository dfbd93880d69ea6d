"""Buttons, selects and modals, by real discord.py and as a person uses them."""

from typing import Any

import pytest

from tests.harness.control_client import ControlRefused, file
from tests.harness.running_sandbox import RunningSandbox
from tests.sandbox.sample_bot import PNG, SampleBot


async def posted(sandbox: RunningSandbox) -> Any:
    await sandbox.control.command(as_="alice", channel="general", name="imagine", options={"prompt": "a boat"})
    return await sandbox.control.wait(as_="alice", channel="general", button="fix")


async def test_button_updates_its_message_for_whoever_presses_it(sandbox: RunningSandbox, bot: SampleBot) -> None:
    message = await posted(sandbox)
    answer = await sandbox.control.press(as_="bob", message=message["id"], label="U2")
    assert answer["response"]["kind"] == "update"
    assert answer["response"]["message"]["content"] == "U2 of 7 by bob"


async def test_button_may_only_acknowledge(sandbox: RunningSandbox, bot: SampleBot) -> None:
    message = await posted(sandbox)
    answer = await sandbox.control.press(as_="bob", message=message["id"], custom_id="job:7:later")
    assert answer["response"]["kind"] == "deferred_update"


async def test_modal_opens_with_its_values_and_is_submitted_with_a_file(
    sandbox: RunningSandbox, bot: SampleBot
) -> None:
    message = await posted(sandbox)
    shown = await sandbox.control.press(as_="bob", message=message["id"], label="fix")
    assert shown["response"]["kind"] == "modal"
    fields = {field["label"]: field for field in shown["response"]["modal"]["fields"]}
    assert fields["Prompt"]["value"] == "a red boat"
    values = {"Prompt": "a blue boat", "Lane": ["Relax"], "Picture": [file("cat.png", PNG)]}
    answer = await sandbox.control.submit(as_="bob", interaction=shown["interaction"], values=values)
    assert answer["response"]["message"]["content"] == f"a blue boat Relax cat.png {len(PNG)}"
    assert answer["response"]["ephemeral"]


async def test_modal_takes_no_second_submit_and_none_after_dismissal(sandbox: RunningSandbox, bot: SampleBot) -> None:
    message = await posted(sandbox)
    shown = await sandbox.control.press(as_="bob", message=message["id"], label="fix")
    await sandbox.control.dismiss(as_="bob", interaction=shown["interaction"])
    with pytest.raises(ControlRefused, match="no_modal"):
        await sandbox.control.submit(as_="bob", interaction=shown["interaction"], values={"Lane": ["Fast"]})


async def test_modal_enforces_lengths_and_required_fields_like_a_client(
    sandbox: RunningSandbox, bot: SampleBot
) -> None:
    message = await posted(sandbox)
    shown = await sandbox.control.press(as_="bob", message=message["id"], label="fix")
    for values in ({"Prompt": "x" * 51, "Lane": ["Fast"]}, {"Prompt": "x"}, {"Lane": ["Turbo"]}, {"Else": "x"}):
        with pytest.raises(ControlRefused):
            await sandbox.control.submit(as_="bob", interaction=shown["interaction"], values=values)


async def test_component_that_is_not_there_is_refused_with_those_that_are(
    sandbox: RunningSandbox, bot: SampleBot
) -> None:
    message = await posted(sandbox)
    with pytest.raises(ControlRefused, match="U1, U2, fix, later"):
        await sandbox.control.press(as_="bob", message=message["id"], label="U9")
