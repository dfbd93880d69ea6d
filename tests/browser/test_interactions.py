"""Commands, buttons, forms and private answers on the page, with a scripted bot behind them."""

import asyncio

import pytest
from playwright.async_api import Locator, Page

from tests.browser import chromium
from tests.browser.page_fixture import AT_BOTTOM, PHONE, PageFixture, picture, said
from tests.harness.control_client import Json

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]


def entry(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Message or command")


async def imagined(page: Page, prompt: str) -> Locator:
    """Types the whole line and sends it; the answer's message."""
    await entry(page).fill(f"/imagine {prompt}")
    await entry(page).press("Enter")
    message = page.locator("article.message", has=page.locator("strong", has_text=prompt))
    await message.wait_for()
    return message


async def test_typed_line_runs_the_command_with_the_rest_as_its_text(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    message = await imagined(page, "a red boat on the sea at sunset")
    assert "alice" in await message.locator(".reference").inner_text()
    assert "/imagine" in await message.locator(".reference").inner_text()
    assert await entry(page).input_value() == ""


async def test_command_is_found_and_filled_with_the_keyboard(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    await entry(page).press_sequentially("/ima")
    await page.get_by_role("option", name="/imagine").wait_for()
    await page.keyboard.press("Tab")
    await page.keyboard.type("a cat")
    await page.get_by_role("button", name="style").click()
    await page.keyboard.type("soft")
    await page.get_by_role("option", name="soft in ink").wait_for()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await said(page, "a cat in ink-soft").wait_for()


async def test_missing_text_and_unknown_commands_are_told_before_anything_is_sent(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    await entry(page).fill("/imagine ")
    await entry(page).press("Enter")
    await page.get_by_role("alert").get_by_text("/imagine needs “prompt”").wait_for()
    await page.keyboard.press("Escape")
    await entry(page).fill("/imagin a boat")
    await entry(page).press("Enter")
    await page.get_by_role("alert").get_by_text("Did you mean /imagine?").wait_for()
    await entry(page).fill("/nonsense")
    await entry(page).press("Enter")
    await page.get_by_role("alert").get_by_text("There is no /nonsense. Type / to see them all.").wait_for()
    assert await pages.control.messages(as_="alice", channel=channel["name"]) == []


async def test_guess_at_a_command_goes_by_its_name_and_only_when_it_is_near(pages: PageFixture) -> None:
    page = await pages.open("alice", await pages.new_channel())
    guess = """async lines => {
      const { nearest } = await import("/page/commands.js");
      const names = ["fast", "imagine", "info", "prefer option set", "settings"];
      const list = names.map(name => ({ name, description: "what nonsense may need fast", options: [] }));
      return lines.map(line => nearest(list, line)?.name ?? null);
    }"""
    wanted = {
        "/imgaine a boat": "imagine",
        "/ima": "imagine",
        "/fsat": "fast",
        "/prefer optoin set x": "prefer option set",
    }
    wanted_none = ["/nonsense", "/f", "/may", "/what"]
    assert await page.evaluate(guess, [*wanted, *wanted_none]) == [*wanted.values(), *[None] * len(wanted_none)]


async def test_name_of_the_option_before_its_text_is_not_part_of_the_text(pages: PageFixture) -> None:
    page = await pages.open("alice", await pages.new_channel())
    await entry(page).press_sequentially("/imagine prompt: a red prompt: boat")
    await entry(page).press("Enter")
    await page.locator("strong").get_by_text("a red prompt: boat", exact=True).wait_for()
    await entry(page).fill("/imagine Prompt:pasted")
    await entry(page).press("Enter")
    await page.locator("strong").get_by_text("pasted", exact=True).wait_for()
    await entry(page).fill("/imagine note: a red boat")
    await entry(page).press("Enter")
    await page.locator("strong").get_by_text("note: a red boat", exact=True).wait_for()


async def test_answers_to_what_one_does_are_shown_though_the_page_is_scrolled_up(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    message = await imagined(page, "far above")
    for number in range(30):
        await pages.control.say(as_="bob", channel=channel["name"], content=f"line {number}")
    await message.scroll_into_view_if_needed()
    await message.get_by_role("button", name="Whisper").click()
    await page.wait_for_function(AT_BOTTOM)
    assert await said(page, "A secret for you.").is_visible()
    await message.scroll_into_view_if_needed()
    await imagined(page, "far below")
    await page.wait_for_function(AT_BOTTOM)


async def test_command_that_nobody_answered_stays_written(pages: PageFixture) -> None:
    page = await pages.open("alice", await pages.new_channel())
    await pages.control.limits(ack_ms=250)
    for after in ("", "something new"):
        await entry(page).fill("/sulk a long thought")
        await page.get_by_role("button", name="style").click()
        await page.get_by_label("style", exact=True).fill("oil")
        await entry(page).press("Enter")
        await entry(page).fill(after)
        await page.get_by_role("alert").get_by_text("did not answer in time").wait_for()
        assert await entry(page).input_value() == (after or "a long thought")
        assert await page.locator("#command-form").is_visible() == (not after)
        await page.evaluate("document.querySelector('#notice').hidden = true")
        if not after:
            assert await page.get_by_label("style", exact=True).input_value() == "oil"
            await page.get_by_role("button", name="Leave /sulk").click()
    await pages.control.limits(ack_ms=3000)


async def test_direct_channel_is_called_by_the_name_of_the_bot(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    assert await page.get_by_placeholder(f"Message #{channel['name']}, or").count() == 1
    await page.get_by_role("list").get_by_role("button", name="Darkroom bot").click()
    await page.get_by_role("menuitem", name="Send it a direct message").click()
    await page.get_by_placeholder("Message @Darkroom, or").wait_for()
    assert await page.title() == "@Darkroom · Darkroom sandbox"


async def test_pictures_are_attached_to_messages_and_to_commands(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    boat = {"name": "boat.png", "mimeType": "image/png", "buffer": picture("red", (96, 64))}
    await page.locator("#picker").set_input_files([boat])  # type: ignore[list-item]
    await page.get_by_role("list", name="Files to send").get_by_text("boat.png").wait_for()
    await entry(page).fill("look")
    await entry(page).press("Enter")
    await page.locator("article.message", has_text="look").get_by_role("button", name="Open boat.png").wait_for()
    await entry(page).press_sequentially("/desc")
    await page.get_by_role("option", name="/describe").click()
    await page.get_by_label("image").set_input_files([boat])  # type: ignore[list-item]
    await entry(page).press("Enter")
    await said(page, "boat.png is 96 wide.").wait_for()


async def test_button_changes_its_message_in_place(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    message = await imagined(page, "counted")
    await message.get_by_role("button", name="Count").click()
    await message.get_by_text("counted one").wait_for()
    await message.get_by_role("button", name="Count").click()
    await message.get_by_text("counted one one").wait_for()


async def test_select_sends_its_choice(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    message = await imagined(page, "coloured")
    await message.locator("select").select_option("blue")
    await said(page, "You chose blue.").wait_for()


async def test_private_answer_is_seen_by_one_person_until_dismissed(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    alice, bob = await asyncio.gather(pages.open("alice", channel), pages.open("bob", channel))
    message = await imagined(alice, "whispered")
    await message.get_by_role("button", name="Whisper").click()
    secret = alice.locator("article.message", has_text="A secret for you.")
    await secret.get_by_text("Only you can see this").wait_for()
    await pages.post(channel, {"content": "after the secret"})
    await said(bob, "after the secret").wait_for()
    assert await said(bob, "A secret for you.").count() == 0
    await secret.get_by_role("button", name="dismiss").click()
    await secret.wait_for(state="detached")
    await alice.reload()
    await said(alice, "after the secret").wait_for()
    assert await said(alice, "A secret for you.").count() == 0


async def test_form_comes_filled_in_checks_its_lengths_and_is_sent(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    message = await imagined(page, "formed")
    await message.get_by_role("button", name="Form").click()
    form = page.get_by_role("dialog", name="Fix and run")
    text = form.get_by_role("textbox", name="Prompt")
    assert await text.input_value() == "a red boat --foo"
    await form.get_by_role("combobox", name="Lane").select_option("relax")
    await text.press("Control+a")
    await text.press_sequentially("a")
    await form.get_by_role("button", name="Submit").click()
    assert await text.evaluate("node => node.validity.tooShort")
    await text.press_sequentially(" blue boat")
    await form.get_by_role("button", name="Submit").click()
    await said(page, "Running a blue boat in relax.").wait_for()
    await form.wait_for(state="hidden")


async def test_public_answer_to_a_private_message_shows_others_none_of_its_words(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    alice, bob = await asyncio.gather(pages.open("alice", channel), pages.open("bob", channel))
    message = await imagined(alice, "mended")
    await message.get_by_role("button", name="Whisper").click()
    secret = alice.locator("article.message", has_text="A secret for you.")
    await secret.get_by_role("button", name="Form").click()
    await alice.get_by_role("dialog").get_by_role("combobox", name="Lane").select_option("fast")
    await alice.get_by_role("button", name="Submit").click()
    answer = "Running a red boat --foo in fast."
    await alice.locator("article.message", has_text=answer).locator(".reference", has_text="A secret").wait_for()
    for _ in range(2):
        theirs = bob.locator("article.message", has_text=answer)
        await theirs.locator(".reference", has_text="a message that is gone").wait_for()
        assert await bob.get_by_text("A secret for you.").count() == 0
        await bob.reload()
    seen = (await pages.control.messages(as_="bob", channel=channel["name"]))[-1]
    assert (seen["referenced_message"], seen["content"]) == (None, "Running **a red boat --foo** in fast.")


async def test_dismissed_form_sends_nothing_and_the_button_works_again(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    message = await imagined(page, "dismissed")
    for _ in range(2):
        await message.get_by_role("button", name="Form").click()
        await page.get_by_role("dialog", name="Fix and run").wait_for()
        await page.keyboard.press("Escape")
        await page.get_by_role("dialog", name="Fix and run").wait_for(state="hidden")
    assert len(await pages.control.messages(as_="alice", channel=channel["name"])) == 1


async def test_silence_of_the_bot_is_told_beside_the_button(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    message = await imagined(page, "silenced")
    before = await pages.control.limits(ack_ms=250)
    await message.get_by_role("button", name="Silent").click()
    await message.get_by_role("alert").get_by_text("did not answer in time").wait_for()
    await pages.control.limits(ack_ms=3000)
    assert before


async def test_deferred_answer_is_shown_as_thinking(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    await entry(page).fill("/ponder")
    await page.get_by_role("option", name="/ponder").wait_for()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await said(page, "is thinking…").wait_for()


async def test_message_app_stands_in_the_menu_of_a_message(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel, PHONE)
    message = await imagined(page, "cancelled soon")
    await message.get_by_role("button", name="Message actions").click()
    await page.get_by_role("menuitem", name="Cancel Job").click()
    await said(page, "Cancelled cancelled soon").wait_for()


async def test_user_app_stands_in_the_menu_of_a_member(pages: PageFixture) -> None:
    page = await pages.open("alice", await pages.new_channel())
    await page.locator("#members").get_by_role("button", name="carol").click()
    await page.get_by_role("menuitem", name="Pictures of").click()
    await said(page, "All of carol").wait_for()


async def test_command_of_a_group_asks_for_suggestions_with_what_is_filled_in_and_its_private_answer_is_edited(
    pages: PageFixture,
) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    await entry(page).press_sequentially("/prefer option set look")
    await page.get_by_role("button", name="value").click()
    await page.keyboard.type("ink")
    await page.get_by_role("option", name="ink and look").wait_for()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    answer = page.locator("article.message", has_text="look is inkink now.")
    await answer.get_by_text("Only you can see this").wait_for()
    assert await answer.get_by_role("button", name="edited").count() == 1


async def test_switching_the_person_changes_the_address_and_what_is_seen(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    message = await imagined(page, "switched")
    await message.get_by_role("button", name="Whisper").click()
    await said(page, "A secret for you.").wait_for()
    await page.get_by_role("combobox", name="You are").select_option(label="bob")
    await said(page, "A secret for you.").wait_for(state="detached")
    assert f"as=bob&channel={channel['name']}" in page.url
    await page.locator("strong", has_text="switched").wait_for()


async def test_inspector_shows_requests_and_marks_429(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    await page.get_by_role("button", name="Inspector").click()
    await pages.control.fault("POST", "/channels/*/messages", status=429, retry_after=0.1)
    await refused_post(pages, channel)
    limited = page.locator(".entry.limited")
    await limited.get_by_text("429").wait_for()
    await page.get_by_role("combobox", name="Show").select_option("trouble")
    assert await page.locator(".entry").count() == await page.locator(".entry.limited, .entry.trouble").count()
    await limited.locator("summary").click()
    await limited.get_by_text("limited away").wait_for()


async def refused_post(pages: PageFixture, channel: Json) -> None:
    url = f"{pages.running.url}/api/v10/channels/{channel['id']}/messages"
    headers = {"Authorization": "Bot sandbox"}
    async with pages.session.post(url, json={"content": "limited away"}, headers=headers) as answer:
        assert answer.status == 429
