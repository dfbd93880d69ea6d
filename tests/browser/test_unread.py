"""What the page does for somebody who looks elsewhere: other channels, further up, a small screen, an empty line."""

import asyncio

import pytest
from playwright.async_api import Page

from tests.browser import chromium
from tests.browser.page_fixture import AT_BOTTOM, GAP, PHONE, PageFixture, said

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]


async def test_other_channels_show_what_is_new_and_count_what_calls_me_until_they_are_opened(
    pages: PageFixture,
) -> None:
    here, there = await pages.new_channel(), await pages.new_channel()
    page = await pages.open("alice", here)
    channel = page.locator(f"[data-channel='{there['name']}']")
    weight = "node => getComputedStyle(node).fontWeight"
    alice = await member(pages, "alice")
    await pages.control.say(as_="alice", channel=there["name"], content="my own words are not news")
    await pages.post(here, {"content": f"<@{alice}> sees this at once"})
    await said(page, "sees this at once").wait_for()
    assert await channel.evaluate(weight) == "400"
    first = await pages.post(there, {"content": "news for all"})
    await page.locator(f".unseen[data-channel='{there['name']}']").wait_for()
    assert await channel.evaluate(weight) == "700"
    assert await page.title() == f"#{here['name']} · Darkroom sandbox"
    await pages.control.delete(as_="alice", message=first["id"])
    await page.locator(f".unseen[data-channel='{there['name']}']").wait_for(state="detached")
    for text in (f"<@{alice}> look", "@everyone look"):
        await pages.post(there, {"content": text})
    await channel.get_by_text("2 mentions").wait_for()
    assert await page.title() == f"(2) #{here['name']} · Darkroom sandbox"
    await channel.click()
    await said(page, "@everyone look").wait_for()
    assert await page.title() == f"#{there['name']} · Darkroom sandbox"
    assert await page.locator(".unseen, .mentions").count() == 0
    looked_at = "state => Object.defineProperty(document, 'visibilityState', {value: state, configurable: true})"
    await page.evaluate(looked_at, "hidden")
    await pages.post(there, {"content": f"<@{alice}> are you away?"})
    await page.wait_for_function("() => document.title.startsWith('(1) ')")
    await page.evaluate(looked_at, "visible")
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert await page.title() == f"#{there['name']} · Darkroom sandbox"


async def test_each_person_has_news_of_their_own_and_a_direct_message_calls_its_reader(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    direct = await pages.control.create("channels", **{"as": "bob"}, type="dm")
    await pages.post(direct, {"content": "for bob alone"})
    await pages.post(channel, {"content": "for all"})
    await said(page, "for all").wait_for()
    assert await page.locator(".mentions").count() == 0
    await page.get_by_role("combobox", name="You are").select_option(label="bob")
    await page.locator(f"[data-id='{direct['id']}'] .mentions").get_by_text("1 mention").wait_for()


async def turned_up(page: Page, until: str) -> None:
    """Turns the wheel until that holds: a turn while the page still grows is no scrolling to it."""
    while not await page.evaluate(f"() => {until}"):
        await page.mouse.wheel(0, -100)
        await asyncio.sleep(0.05)


async def test_way_down_is_offered_after_a_screen_without_anything_new(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    for number in range(60):
        await pages.control.say(as_="bob", channel=channel["name"], content=f"line {number}")
    page = await pages.open("alice", channel)
    await said(page, "line 59").wait_for()
    down = page.get_by_role("button", name="Newest messages")
    await page.locator("#scroller").hover()
    await turned_up(page, f"{GAP} > 200")
    assert await down.is_hidden()
    await turned_up(page, f"{GAP} > innerHeight")
    await down.wait_for()
    await page.get_by_role("combobox", name="Message or command").fill("a long thought about boats\n" * 9)
    below = "() => document.querySelector('#composer').getBoundingClientRect().top"
    assert await down.evaluate("node => node.getBoundingClientRect().bottom") < await page.evaluate(below)
    await down.click()
    await page.wait_for_function(AT_BOTTOM)
    await down.wait_for(state="hidden")


async def test_phone_shows_the_name_of_an_age_restricted_channel_and_the_light_of_the_bot(pages: PageFixture) -> None:
    channel = await pages.control.create("channels", name="after-midnight", nsfw=True)
    page = await pages.open("alice", channel, PHONE)
    title = page.locator("h1")
    assert await title.inner_text() == "#after-midnight"
    assert await title.evaluate("node => node.scrollWidth <= node.clientWidth")
    light = page.get_by_role("status").get_by_text("Darkroom is online")
    assert await light.evaluate("node => node.offsetWidth") == 1
    red, green, _ = await page.locator("#bot-light").evaluate(
        "node => getComputedStyle(node, '::before').backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert green > red
    await page.get_by_role("combobox", name="Message or command").fill("/imagine " + "a long thought about boats " * 12)
    tops = "(...ids) => ids.map(id => document.querySelector(id).getBoundingClientRect().top)"
    attach, label = await page.evaluate(f"({tops})('#attach', '#entry-label')")
    assert abs(attach - label) < 12
    assert await page.locator("#entry").evaluate("node => getComputedStyle(node).scrollbarWidth") == "thin"


async def member(pages: PageFixture, name: str) -> str:
    """The id of a person."""
    guild = (await pages.control.state())["guilds"][0]
    return next(str(one["id"]) for one in guild["members"] if one["name"] == name)
