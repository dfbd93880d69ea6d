"""What a person types and attaches on the page: nothing of it is lost, and what cannot be used is named."""

import pytest
from playwright.async_api import Locator, Page

from tests.browser import chromium
from tests.browser.page_fixture import PageFixture, picture, said

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]

BOAT = {"name": "boat.png", "mimeType": "image/png", "buffer": picture("red", (96, 64))}


def entry(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Message or command")


def alert(page: Page, words: str) -> Locator:
    return page.get_by_role("alert").get_by_text(words)


async def test_words_behind_a_command_that_takes_none_stay_and_are_named(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    await entry(page).press_sequentially("/ponder about boats")
    assert await entry(page).input_value() == "about boats"
    await page.keyboard.press("Enter")
    await alert(page, "/ponder takes no “about boats”").wait_for()
    assert await entry(page).input_value() == "about boats"
    assert await pages.control.messages(as_="alice", channel=channel["name"]) == []
    await entry(page).fill("")
    await page.keyboard.press("Enter")
    await said(page, "is thinking…").wait_for()
    await entry(page).fill("/describe my boat")  # a file and no words
    await page.keyboard.press("Enter")
    await alert(page, "/describe takes no “my boat”").wait_for()


async def test_words_behind_a_command_fill_its_choice_or_stay(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    await entry(page).press_sequentially("/help parameters")
    await page.keyboard.press("Enter")
    await said(page, "The page parameters.").wait_for()
    await entry(page).press_sequentially("/help nonsense")
    await page.keyboard.press("Enter")
    await alert(page, "/help takes no “nonsense”: page is Start, Parameters or Models").wait_for()
    assert await entry(page).input_value() == "nonsense"


async def test_files_for_a_command_that_takes_none_are_named_before_it_is_sent(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    await page.locator("#picker").set_input_files([BOAT])  # type: ignore[list-item]
    await entry(page).fill("/imagine a cat")
    await page.keyboard.press("Enter")
    await alert(page, "/imagine takes no file: remove boat.png").wait_for()
    assert await entry(page).input_value() == "a cat"
    await page.get_by_role("button", name="Remove boat.png").click()
    await entry(page).press("Enter")
    await page.locator("strong", has_text="a cat").wait_for()


async def test_files_chosen_before_the_command_go_to_its_options_and_too_many_are_named(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    files = [BOAT | {"name": f"{number}.png"} for number in (1, 2, 3)]
    await page.locator("#picker").set_input_files(files)  # type: ignore[arg-type]
    await entry(page).fill("/blend ")
    await page.keyboard.press("Enter")
    await alert(page, "/blend takes no more files: remove 3.png").wait_for()
    await page.get_by_role("button", name="Remove 3.png").click()
    await entry(page).press("Enter")
    await said(page, "1.png and 2.png").wait_for()


async def test_list_of_commands_holds_those_that_begin_so_and_others_only_without_one(pages: PageFixture) -> None:
    page = await pages.open("alice", await pages.new_channel())
    match = """async lines => {
      const { matching } = await import("/page/commands.js");
      const names = ["imagine", "info", "prefer option list", "prefer option set", "prefer suffix", "shorten", "show"];
      const list = names.map(name => ({ name, description: "what an imagined image may need", options: [] }));
      return lines.map(line => matching(list, line).map(one => one.name).join(", "));
    }"""
    prefer = "prefer option list, prefer option set, prefer suffix"
    wanted = {
        "/im": "imagine",
        "/i": "imagine, info",
        "/IMA": "imagine",
        "/prefer": prefer,
        "/prefer o": "prefer option list, prefer option set",
        "/op": "prefer option list, prefer option set",
        "/suffix": "prefer suffix",
        "/sh": "shorten, show",
        "/age": "",
        "/what": "",
    }
    assert await page.evaluate(match, list(wanted)) == list(wanted.values())
