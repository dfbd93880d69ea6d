"""The wire's worker end: nothing said blocks the loop, nothing of a finished connection reaches the next one."""

import threading
from collections.abc import Iterator

import pytest

from core.events import (
    PROTOCOL,
    Catalogue,
    Challenge,
    Done,
    Hello,
    ModelInfo,
    ModelPlace,
    Models,
    Picture,
    Progress,
    Ready,
)  # fmt: skip
from tests.worker.bot_server import KEY, Door, submit
from tests.worker.engine_driver import request
from worker.transport.bot_connection import BACKLOG, Address, Link, NotWelcome
from worker.transport.inbox import Drop, Inbox

INFO = ModelInfo(
    name="one", family="sd", digest="", dtype="float32", native=64, multiple=8, steps=4, guidance=1.0,
    sampler="euler", samplers=("euler",),
)  # fmt: skip


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


def hello(proof: str) -> Hello:
    return Hello(
        protocol=PROTOCOL, version="1", proof=proof, name="x", pid=1, device="cpu", memory_mb=1, max_rows=1
    )  # fmt: skip


def linked(door: Door, key: str = KEY) -> tuple[Link, Inbox, threading.Thread]:
    inbox = Inbox()
    link = Link(Address.parse(door.address), key, hello, inbox)
    thread = threading.Thread(target=link.run, kwargs={"once": True}, daemon=True)
    thread.start()
    return link, inbox, thread


def test_a_bot_that_does_not_read_never_blocks_who_speaks(door: Door) -> None:
    link, _, _ = linked(door)
    visit = door.visit()
    visit.welcome()
    visit.say(submit("a", request()))
    assert link.flush(60)
    visit.pause()
    png = bytes(1 << 20)
    for index in range(100):
        link.say(Picture(job="a", attempt=1, index=index, png=png))
    for step in range(100):
        link.say(Progress(job="a", attempt=1, step=step, steps=100, gpu_ms=0))
    link.say(Done(job="a", attempt=1, gpu_ms=1))
    visit.go_on()
    visit.hear(Done)
    pictures = [message for message in visit.all if isinstance(message, Picture)]
    assert [picture.index for picture in pictures] == list(range(100)), "every picture arrives"
    assert not any(isinstance(message, Progress) for message in visit.all), (
        f"over {BACKLOG} waiting, progress is left out"
    )


def test_orders_arrive_in_order_and_a_lost_connection_is_told_after_them(door: Door) -> None:
    _, inbox, thread = linked(door)
    visit = door.visit()
    visit.welcome()
    for job in ("a", "b"):
        visit.say(submit(job, request(), source=bytes(300_000)))
    heard = [inbox.get(block=True) for _ in range(2)]
    assert [getattr(order, "job", None) for order in heard] == ["a", "b"]
    visit.close()
    assert isinstance(inbox.get(block=True), Drop)
    thread.join(60)


def test_a_bot_that_dies_with_words_unread_ends_the_connection_like_any_other(door: Door) -> None:
    inbox = Inbox()
    link = Link(Address.parse(door.address), KEY, hello, inbox)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            link.run(once=True)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    visit = door.visit()
    visit.welcome()
    visit.pause()
    for _ in range(3):  # the door may still be at one reading; the others stay unread, and closing over them resets
        link.say(Done(job="a", attempt=1, gpu_ms=1))
        assert link.flush(60)
    visit.close()
    thread.join(60)
    assert errors == []
    assert isinstance(inbox.get(block=True), Drop)


def test_the_catalogue_arrives_among_the_orders_as_it_was_sent(door: Door) -> None:
    _, inbox, thread = linked(door)
    visit = door.visit()
    visit.welcome()
    catalogue = Catalogue(default="postcard", models=(ModelPlace(name="postcard", where="postcard"),))
    visit.say(catalogue)
    assert inbox.get(block=True) == catalogue
    assert inbox.jobs() == ()
    visit.close()
    thread.join(60)


def test_which_models_are_there_is_said_again_at_every_connection_after_the_greeting(door: Door) -> None:
    link = Link(Address.parse(door.address), KEY, hello, Inbox())
    ready = Ready(model=INFO, load_ms=1)
    link.announce(ready)
    link.say(Models(loaded=("one",), known=()))
    link.say(Models(loaded=("two",), known=()))
    for _ in range(2):
        thread = threading.Thread(target=link.run, kwargs={"once": True}, daemon=True)
        thread.start()
        visit = door.visit()
        visit.welcome()
        assert visit.hear(Models).loaded == ("two",)
        assert visit.all[-2:] == [ready, Models(loaded=("two",), known=())]
        visit.close()
        thread.join(60)


def test_what_is_said_while_nobody_listens_is_dropped(door: Door) -> None:
    link = Link(Address.parse(door.address), KEY, hello, Inbox())
    link.say(Done(job="a", attempt=1, gpu_ms=1))
    assert not link.flush(0.01)


@pytest.mark.parametrize("first", ["nothing", "another version", "noise"])
def test_another_side_that_is_no_bot_is_left_with_a_sentence(door: Door, first: str) -> None:
    link = Link(Address.parse(door.address), KEY, hello, Inbox())
    errors: list[BaseException] = []

    def run() -> None:
        try:
            link.run(once=True)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    visit = door.visit()
    if first == "another version":
        visit.say(Challenge(protocol=PROTOCOL + 1, nonce="00"))
    elif first == "noise":
        visit.sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    visit.close()
    thread.join(60)
    assert len(errors) == 1
    if first != "noise":
        assert isinstance(errors[0], NotWelcome)


@pytest.mark.parametrize("text", ["", "x", "unix:", ":1", "a:b", "a:0", "a:70000"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unix:PATH"):
        Address.parse(text)


def test_addresses_of_both_kinds_are_read() -> None:
    assert Address.parse("unix:/tmp/s").path == "/tmp/s"
    assert (Address.parse("[::1]:99").host, Address.parse("far.example:99").port) == ("::1", 99)
