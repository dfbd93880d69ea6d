"""Buttons of all kinds, selects of several, forms and layouts on the page, as Discord shows them."""

from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser import chromium
from tests.browser.page_fixture import PHONE, PageFixture, picture, said
from tests.harness.control_client import Json

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]

LAYOUT = 1 << 15


async def shown(pages: PageFixture, page: Page, channel: Json, *components: Json, **files: bytes) -> Locator:
    """A message of the bot's with this layout, on the page."""
    attachments = [{"id": number, "filename": f"{name}.png"} for number, name in enumerate(files)]
    payload = {"flags": LAYOUT, "components": components, "attachments": attachments}
    message = await pages.post(channel, payload, **files)
    found = page.locator(f"[data-message='{message['id']}']")
    await found.wait_for()
    return found


async def test_buttons_of_every_style_links_and_disabled_ones_are_drawn(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel, PHONE)
    styles = ("primary", "secondary", "success", "danger")
    parts: list[Json] = [{"type": 2, "style": n, "label": name, "custom_id": name} for n, name in enumerate(styles, 1)]
    link = {"type": 2, "style": 5, "label": "Read", "url": "https://example.org/read"}
    off = {"type": 2, "style": 1, "label": "Off", "custom_id": "off", "disabled": True}
    rows = [{"type": 1, "components": [*parts, link]}, {"type": 1, "components": [off]}]
    message = await shown(pages, page, channel, *rows)
    for name in styles:
        assert name in str(await message.get_by_role("button", name=name).get_attribute("class")).split()
    assert await message.get_by_role("link", name="Read").get_attribute("href") == "https://example.org/read"
    assert await message.get_by_role("button", name="Off").is_disabled()


async def test_select_of_several_shows_what_is_chosen_keeps_to_its_numbers_and_is_sent_at_once(
    pages: PageFixture,
) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel, PHONE)
    await pages.control.command(as_="alice", channel=channel["name"], name="areas")
    message = page.locator("article.message", has_text="choose 1 to 3")
    apply = message.get_by_role("button", name="Apply")
    assert await apply.evaluate("node => node.clientHeight < 50")  # it was squeezed into one letter a line
    tops = "all => all.map(one => one.getBoundingClientRect().top)"
    boxes = await message.get_by_role("checkbox").evaluate_all(tops)
    assert [boxes.count(top) for top in sorted(set(boxes))] == [4] * 4  # as the areas of a picture lie
    assert await message.get_by_role("checkbox", checked=True).count() == 1
    for name in ("A1", "D4"):
        await message.get_by_role("checkbox", name=name).check()
    await message.get_by_role("checkbox", name="A1").uncheck()
    await message.get_by_role("checkbox", name="C3").check()
    assert await message.get_by_role("checkbox", name="A1").is_disabled()  # three are chosen
    await apply.click()
    await said(page, "Areas B2, C3, D4.").wait_for()
    for name in ("B2", "C3", "D4"):
        await message.get_by_role("checkbox", name=name).uncheck()
    assert await apply.is_disabled()


async def test_form_with_words_choices_and_files_comes_filled_in_and_is_sent_whole(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel, PHONE)
    await page.get_by_role("combobox", name="Message or command").fill("/edit ")
    await page.keyboard.press("Enter")
    form = page.get_by_role("dialog", name="Edit a picture")
    await form.locator("strong", has_text="scribble").wait_for()
    assert await form.get_by_role("textbox", name="Prompt").input_value() == "a red boat"
    where = form.get_by_role("group", name="Where")
    assert await where.get_by_role("checkbox", checked=True).count() == 1
    await where.get_by_role("checkbox", name="sea").check()
    files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": picture("red", (8, 8))} for n in (1, 2, 3)]
    picker: Any = form.get_by_label("Pictures")
    await picker.set_input_files(files)
    await form.get_by_role("button", name="Submit").click()
    assert "1 to 2 files" in await picker.evaluate("node => node.validationMessage")
    await picker.set_input_files(files[:2])
    await form.get_by_role("combobox", name="For whom").select_option(label="carol")
    await form.get_by_role("button", name="Submit").click()
    await said(page, "a red boat: sky, sea for carol with 1.png, 2.png").wait_for()
    fits = "() => document.documentElement.scrollWidth <= innerWidth"
    assert await page.evaluate(fits)


async def test_layouts_show_sections_galleries_separators_and_hide_spoilers_until_pressed(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel, PHONE)
    thumbnail = {"type": 11, "media": {"url": "attachment://one.png"}, "description": "a thumbnail"}
    button = {"type": 2, "style": 3, "label": "Turn on", "custom_id": "on"}
    text = {"type": 10, "content": "## Settings\n**Model** Postcard"}
    items = [{"media": {"url": f"attachment://{name}.png"}, "spoiler": name == "two"} for name in ("one", "two")]
    black = {"type": 17, "accent_color": 0, "components": [text, {"type": 14, "spacing": 2}]}
    sections = [{"type": 9, "components": [text], "accessory": part} for part in (thumbnail, button)]
    secret = {"type": 17, "spoiler": True, "components": [{"type": 10, "content": "hidden words"}]}
    parts = [black, *sections, {"type": 12, "items": items}, secret]
    message = await shown(pages, page, channel, *parts, one=picture("red"), two=picture("blue"))
    await message.get_by_role("button", name="Turn on").wait_for()
    await message.get_by_role("img", name="a thumbnail").wait_for()
    assert await message.locator(".v2-gallery img").count() == 2
    edge = "node => getComputedStyle(node).borderLeftColor"
    assert await message.locator(".v2-container").first.evaluate(edge) == "rgb(0, 0, 0)"
    assert await message.get_by_text("hidden words").is_hidden()
    await message.get_by_role("button", name="Spoiler, press to show").last.press("Enter")
    await message.get_by_text("hidden words").wait_for()
    await message.get_by_role("button", name="Spoiler, press to show").click()
    assert await page.get_by_role("dialog", name="Picture").is_hidden()
    await message.get_by_role("button", name="Open two.png").click()
    await page.get_by_role("dialog", name="Picture").wait_for()
    assert await page.evaluate("() => document.querySelector('#scroller').scrollWidth <= innerWidth")


async def test_picture_that_is_sent_as_a_spoiler_is_covered(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    attachment = {"attachments": [{"id": 0, "filename": "SPOILER_grid.png"}]}
    await pages.post(channel, {"content": "look"} | attachment, SPOILER_grid=picture("red"))
    frame = page.locator(".print")
    await frame.locator("img").wait_for(state="attached")
    await expect(frame.locator("img")).to_be_hidden()
    await frame.click()
    await expect(frame.locator("img")).to_be_visible()


async def test_embed_shows_its_author_title_fields_and_footer(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    fields = [{"name": f"name {n}", "value": f"value {n}", "inline": n < 3} for n in (1, 2, 3)]
    embed = {"title": "Queue", "url": "https://example.org", "description": "two **jobs**", "color": 0xFF0000}
    embed |= {"author": {"name": "the author"}, "footer": {"text": "page 1"}, "fields": fields}
    await pages.post(channel, {"embeds": [embed]})
    card = page.locator("article.embed")
    await card.get_by_role("link", name="Queue").wait_for()
    for words in ("the author", "page 1", *(f"{kind} {n}" for kind in ("name", "value") for n in (1, 2, 3))):
        assert await card.get_by_text(words, exact=True).is_visible()
    tops = "all => all.map(one => one.getBoundingClientRect().top)"
    first, second, third = await card.locator(".field").evaluate_all(tops)
    assert first == second < third
