"""The list of channels and members beside the messages."""

import pytest

from tests.browser import chromium
from tests.browser.page_fixture import PageFixture

pytestmark = [chromium.needed, pytest.mark.asyncio(loop_scope="module")]


async def test_threads_stand_below_their_channel_and_further_in(pages: PageFixture) -> None:
    for name, parent in (("more boats", "gallery"), ("six boats", "general"), ("old boats", "general")):
        await pages.control.create("channels", name=name, type="thread", parent=parent)
    await pages.control.change("channels", "old boats", archived=True)
    page = await pages.open("alice", {"name": "six boats"})
    places = page.locator("#channels [data-channel]")
    names = await places.evaluate_all("all => all.map(one => one.dataset.channel)")
    assert names == ["general", "six boats", "gallery", "more boats", "nsfw"]
    left = "all => all.map(one => one.querySelector('.sign').getBoundingClientRect().left)"
    general, thread, *_ = await places.evaluate_all(left)
    assert thread > general
