"""Messages on the page: live, changed in place, inert."""

import asyncio

import pytest

from tests.browser import chromium
from tests.browser.page_fixture import AT_BOTTOM, DESKTOP, GAP, PHONE, PageFixture, picture, said

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]

# Counts the moments in which a frame on the page holds no picture that has been loaded.
WATCH = """element => {
  window.empty = 0;
  window.frame = element;
  const loaded = () => [...element.querySelectorAll("img")].some(one => one.complete && one.naturalWidth);
  const look = () => { if (!loaded()) window.empty += 1; };
  new MutationObserver(look).observe(element, {childList: true});
}"""
FAR_UP = f"() => {GAP} > 300"
COLOUR = """async element => {
  const image = element.querySelector("img:last-child");
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  canvas.getContext("2d").drawImage(image, 0, 0, 1, 1);
  return [...canvas.getContext("2d").getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


async def test_message_of_the_bot_appears_by_itself(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    assert await page.get_by_text("Nothing has developed here yet.").is_visible()
    await pages.post(channel, {"content": "**a red boat** for you"})
    await page.locator("strong", has_text="a red boat").wait_for()
    assert await page.get_by_text("Nothing has developed here yet.").is_hidden()


async def test_edited_picture_is_swapped_in_its_frame_without_an_empty_moment(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    attachment = {"attachments": [{"id": 0, "filename": "preview.png"}]}
    message = await pages.post(channel, {"content": "developing · 8 %"} | attachment, preview=picture("red"))
    frame = page.locator(".print")
    await frame.locator("img").wait_for()
    await frame.evaluate(WATCH)
    for percent, colour in ((31, "lime"), (77, "blue")):
        await pages.edit(message, {"content": f"developing · {percent} %"} | attachment, preview=picture(colour))
        await said(page, f"{percent} %").wait_for()
    await page.wait_for_function(f"async () => '' + await ({COLOUR})(window.frame) === '0,0,255'")
    await page.wait_for_function("() => window.frame.querySelectorAll('img').length === 1")
    assert await page.evaluate("window.empty") == 0
    assert await page.evaluate("window.frame.isConnected")
    assert await page.get_by_role("button", name="edited 2 times").is_visible()


async def test_reader_above_is_not_moved_by_an_edit_below_and_follows_at_the_bottom(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    for number in range(30):
        await pages.control.say(as_="bob", channel=channel["name"], content=f"line {number}")
    message = await pages.post(channel, {"content": "the last"})
    page = await pages.open("alice", channel)
    await said(page, "the last").wait_for()
    scroller = page.locator("#scroller")
    await page.wait_for_function(AT_BOTTOM)
    attachment = {"attachments": [{"id": 0, "filename": "grid.png"}]}
    await pages.edit(message, {"content": "with a picture"} | attachment, grid=picture("red", (512, 512)))
    await page.locator(".print img").wait_for()
    await page.wait_for_function(AT_BOTTOM)
    await scroller.hover()
    await page.mouse.wheel(0, -600)
    await page.wait_for_function(FAR_UP)
    top = await scroller.evaluate("element => element.scrollTop")
    await pages.post(channel, {"content": "one more"})
    await said(page, "one more").wait_for(state="attached")
    assert abs(await scroller.evaluate("element => element.scrollTop") - top) < 2
    await page.get_by_role("button", name="Newest messages").click()
    await page.wait_for_function(AT_BOTTOM)


async def test_html_in_names_texts_and_embeds_stays_text(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    evil = '<img src=x onerror="window.hit=1"><script>window.hit=1</script> [x](javascript:alert(1)) **bold**'
    field = {"name": evil[:200], "value": evil}
    await pages.post(channel, {"content": evil, "embeds": [{"title": evil, "description": evil, "fields": [field]}]})
    await pages.control.say(as_="bob", channel=channel["name"], content=f"`{evil}` ```{evil}``` > {evil}")
    await said(page, "window.hit").nth(4).wait_for()
    assert await page.evaluate("window.hit") is None
    assert await page.locator("#messages script, #messages img, #messages a").count() == 0


async def test_markdown_mentions_and_ticking_times_are_drawn(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    world = await pages.control.state()
    alice = next(member["id"] for member in world["guilds"][0]["members"] if member["name"] == "alice")
    soon = await page.evaluate("Math.round(Date.now() / 1000) + 40")
    text = f"**bold** *slanted* `code` ~~gone~~ ||hidden|| <@{alice}> <#{channel['id']}> <t:{soon}:R>"
    await pages.post(channel, {"content": f"{text}\n-# small\n> said\n- item"})
    body = page.locator("article.message .part-text")
    for selector, words in {"strong": "bold", "em": "slanted", "code": "code", "s": "gone", ".small": "small"}.items():
        assert await body.locator(selector).inner_text() == words
    assert await body.locator(".mention.mine").inner_text() == "@alice"
    assert await body.get_by_text(f"#{channel['name']}").is_visible()
    first = await body.locator("time").inner_text()
    assert first.endswith("seconds") and first.startswith("in ")
    await page.wait_for_function(
        "before => document.querySelector('.part-text time').textContent !== before", arg=first
    )
    hidden = body.locator(".spoiler")
    assert await hidden.evaluate("node => getComputedStyle(node).color") == "rgba(0, 0, 0, 0)"
    await hidden.press("Enter")
    await page.wait_for_function(
        "() => getComputedStyle(document.querySelector('.spoiler')).color !== 'rgba(0, 0, 0, 0)'"
    )


async def test_phone_width_shows_everything_without_scrolling_sideways(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel, PHONE)
    buttons = [{"type": 2, "style": 2, "label": f"U{n}", "custom_id": f"u{n}"} for n in range(1, 6)]
    long = "wide" * 60
    attachment = {"attachments": [{"id": 0, "filename": "grid.png"}]}
    embed = {"title": long, "fields": [{"name": long, "value": long, "inline": True}]}
    payload = {
        "content": f"{long}\n```{long}```",
        "embeds": [embed],
        "components": [{"type": 1, "components": buttons}],
    }
    await pages.post(channel, payload | attachment, grid=picture("red", (512, 512)))
    await page.locator(".print img").wait_for()
    fits = "[document.documentElement, document.querySelector('#scroller')].every(e => e.scrollWidth <= innerWidth)"
    assert await page.evaluate(fits)
    assert not await page.locator("[data-channel=gallery]").is_visible()
    await page.get_by_role("button", name="Channels and members").click()
    await page.locator("[data-channel=gallery]").click()
    await page.locator("[data-channel=gallery][aria-current]").wait_for(state="attached")
    await page.wait_for_function("() => getComputedStyle(document.querySelector('#sidebar')).visibility === 'hidden'")
    await page.get_by_role("button", name="Inspector").click()
    await page.get_by_role("complementary", name="Inspector").wait_for()
    assert await page.evaluate(fits)


async def test_picture_opens_large_and_closes_with_the_keyboard(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    attachment = {"attachments": [{"id": 0, "filename": "grid.png"}]}
    await pages.post(channel, attachment, grid=picture("red"))
    await page.locator(".print img").wait_for()
    await page.locator(".print").press("Enter")
    await page.get_by_role("dialog", name="Picture").get_by_text("grid.png").wait_for()
    await page.keyboard.press("Escape")
    await page.get_by_role("dialog", name="Picture").wait_for(state="hidden")


async def test_buttons_below_a_grid_stand_in_two_rows_of_five_columns(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    sign = {"type": 2, "style": 2, "custom_id": "again", "emoji": {"name": "🔄"}}
    above = [{"type": 2, "style": 2, "label": f"U{n}", "custom_id": f"u{n}"} for n in range(1, 5)]
    below = [{"type": 2, "style": 2, "label": name, "custom_id": name} for name in ("V1", "V2", "V3", "V4", "ⓘ")]
    rows = [{"type": 1, "components": [*above, sign]}, {"type": 1, "components": below}]
    await pages.post(channel, {"content": "a grid", "components": rows})
    for size in (DESKTOP, PHONE):
        page = await pages.open("alice", channel, size)
        await page.get_by_role("button", name="ⓘ").wait_for()
        edges = "all => all.map(one => one.getBoundingClientRect()).map(box => [box.left, box.right, box.top])"
        boxes = await page.locator(".row .button").evaluate_all(edges)
        assert [box[:2] for box in boxes[:5]] == [box[:2] for box in boxes[5:]]
        assert len({box[2] for box in boxes}) == 2


async def test_opened_picture_with_a_long_name_fits_a_phone(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel, PHONE)
    name = "alice_a_red_boat_on_the_sea_at_sunset_with_many_more_words_" + "0" * 60
    attachment = {"attachments": [{"id": 0, "filename": f"{name}.png"}]}
    for size in ((1024, 1024), (1024, 300), (300, 1024)):
        message = await pages.post(channel, attachment, **{name: picture("red", size)})
        await page.locator(f"[data-message='{message['id']}'] .print").click()
        large = page.locator("#lightbox img")
        await large.evaluate("image => image.decode()")
        for part in (large, page.locator("#lightbox footer"), page.get_by_role("button", name="Close the picture")):
            box = await part.bounding_box()
            assert box is not None
            assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE[0], f"{size} is {box}"
            assert box["y"] >= 0 and box["y"] + box["height"] <= PHONE[1], f"{size} is {box}"
        await page.keyboard.press("Escape")


async def test_person_writes_replies_reacts_edits_and_deletes(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    alice, bob = await asyncio.gather(pages.open("alice", channel), pages.open("bob", channel))
    await alice.get_by_role("combobox", name="Message or command").fill("hello there")
    await alice.keyboard.press("Enter")
    theirs = bob.locator("article.message", has_text="hello there")
    await theirs.hover()
    first = await theirs.get_attribute("data-message")
    await theirs.get_by_role("button", name="Message actions").click()
    await bob.get_by_role("menuitem", name="Reply").click()
    await bob.keyboard.type("hello alice")
    await bob.keyboard.press("Enter")
    answer = alice.locator("article.message", has_text="hello alice")
    await answer.locator(".reference", has_text="hello there").wait_for()
    await answer.click(button="right", position={"x": 5, "y": 5})
    await alice.get_by_role("menuitem", name="Add a reaction").click()
    await alice.get_by_role("button", name="🔥").click()
    await bob.get_by_role("button", name="🔥, 1").wait_for()
    own = alice.locator(f"[data-message='{first}']")
    await own.click(button="right", position={"x": 5, "y": 5})
    await alice.get_by_role("menuitem", name="Delete").click()
    await bob.locator(f"[data-message='{first}']").wait_for(state="detached")


async def test_long_channel_is_drawn_in_parts_and_a_link_reaches_its_oldest_message(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    for number in range(160):
        await pages.control.say(as_="bob", channel=channel["name"], content=f"number {number}.")
    oldest = (await pages.control.messages(as_="alice", channel=channel["name"]))[0]
    address = f"https://discord.com/channels/1/{channel['id']}/{oldest['id']}"
    await pages.post(channel, {"content": f"see [the first]({address})"})
    page = await pages.open("alice", channel)
    await said(page, "number 159.").wait_for()
    assert await page.locator("article.message").count() == 150
    assert await page.get_by_role("button", name="Show earlier messages").count() == 1
    await page.get_by_role("button", name="the first").click()
    await said(page, "number 0.").wait_for()
    await page.wait_for_function("() => document.activeElement.textContent.includes('number 0.')")
    assert await page.locator("article.message").count() == 161


async def test_addresses_of_messages_are_short_signs_are_drawn_and_code_wraps(pages: PageFixture) -> None:
    channel = await pages.new_channel()
    page = await pages.open("alice", channel)
    first = await pages.post(channel, {"content": "the first"})
    address = f"https://discord.com/channels/{channel['guild']}/{channel['id']}"
    text = f"{address}/{first['id']} in {address}\n🔄 makes new ones, ⓘ tells all\n```{'wide ' * 90}```"
    linking = await pages.post(channel, {"content": text})
    message = page.locator(f"[data-message='{linking['id']}']")
    await message.get_by_role("button", name="this channel").wait_for()
    assert (await message.locator("p").first.inner_text()).startswith("this message in this channel")
    assert await message.get_by_role("img").evaluate_all("all => all.map(one => one.ariaLabel)") == ["🔄", "ⓘ"]
    assert await message.locator(".sign-drawn svg").count() == 2
    assert await message.locator("pre").evaluate("node => node.scrollWidth <= node.clientWidth")
    await message.get_by_role("button", name="this message").click()
    await page.wait_for_function("() => document.activeElement.textContent.includes('the first')")
    await pages.control.say(as_="bob", channel=channel["name"], content="and?", reply_to=linking["id"])
    await page.locator(".reference", has_text="this message in this channel").wait_for()
