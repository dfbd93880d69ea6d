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
from tests.worker.bot_server import KEY, BotServer, submit
from tests.worker.engine_driver import request
from worker.transport import Address, BotConnection, ConnectionLost, Inbox
from worker.transport.bot_connection import BACKLOG, WorkerRefused

INFO = ModelInfo(
    name="one", family="sd", digest="", dtype="float32", native=64, multiple=8, steps=4, guidance=1.0,
    sampler="euler", samplers=("euler",),
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[BotServer]:
    server = BotServer()
    yield server
    server.close()


def hello(proof: str) -> Hello:
    return Hello(
        protocol=PROTOCOL, version="1", proof=proof, name="x", pid=1, device="cpu", memory_mb=1, max_rows=1
    )  # fmt: skip


def connected(server: BotServer, key: str = KEY) -> tuple[BotConnection, Inbox, threading.Thread]:
    inbox = Inbox()
    connection = BotConnection(Address.parse(server.address), key, hello, inbox)
    thread = threading.Thread(target=connection.run, kwargs={"once": True}, daemon=True)
    thread.start()
    return connection, inbox, thread


def test_a_bot_that_does_not_read_never_blocks_who_speaks(server: BotServer) -> None:
    connection, _, _ = connected(server)
    session = server.accept()
    session.welcome()
    session.send(submit("a", request()))
    assert connection.flush(60)
    session.pause()
    png = bytes(1 << 20)
    for index in range(100):
        connection.send(Picture(job="a", attempt=1, index=index, width=1024, height=1024, png=png))
    for step in range(100):
        connection.send(Progress(job="a", attempt=1, step=step, steps=100, gpu_ms=0))
    connection.send(Done(job="a", attempt=1, gpu_ms=1))
    session.go_on()
    session.receive(Done)
    pictures = [message for message in session.all if isinstance(message, Picture)]
    assert [picture.index for picture in pictures] == list(range(100)), "every picture arrives"
    assert not any(isinstance(message, Progress) for message in session.all), (
        f"over {BACKLOG} waiting, progress is left out"
    )


def test_orders_arrive_in_order_and_a_lost_connection_is_told_after_them(server: BotServer) -> None:
    _, inbox, thread = connected(server)
    session = server.accept()
    session.welcome()
    for job in ("a", "b"):
        session.send(submit(job, request(), source=bytes(300_000)))
    heard = [inbox.get(block=True) for _ in range(2)]
    assert [getattr(order, "job", None) for order in heard] == ["a", "b"]
    session.close()
    assert isinstance(inbox.get(block=True), ConnectionLost)
    thread.join(60)


def test_a_bot_that_dies_with_words_unread_ends_the_connection_like_any_other(server: BotServer) -> None:
    inbox = Inbox()
    connection = BotConnection(Address.parse(server.address), KEY, hello, inbox)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            connection.run(once=True)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    session = server.accept()
    session.welcome()
    session.pause()
    for _ in range(3):  # the server may still be at one reading; the others stay unread, and closing over them resets
        connection.send(Done(job="a", attempt=1, gpu_ms=1))
        assert connection.flush(60)
    session.close()
    thread.join(60)
    assert errors == []
    assert isinstance(inbox.get(block=True), ConnectionLost)


def test_the_catalogue_arrives_among_the_orders_as_it_was_sent(server: BotServer) -> None:
    _, inbox, thread = connected(server)
    session = server.accept()
    session.welcome()
    catalogue = Catalogue(default="postcard", models=(ModelPlace(name="postcard", where="postcard"),))
    session.send(catalogue)
    assert inbox.get(block=True) == catalogue
    assert inbox.jobs() == ()
    session.close()
    thread.join(60)


def test_which_models_are_there_is_said_again_at_every_connection_after_the_greeting(server: BotServer) -> None:
    connection = BotConnection(Address.parse(server.address), KEY, hello, Inbox())
    ready = Ready(model=INFO, load_ms=1)
    connection.announce(ready)
    connection.send(Models(loaded=("one",), known=()))
    connection.send(Models(loaded=("two",), known=()))
    for _ in range(2):
        thread = threading.Thread(target=connection.run, kwargs={"once": True}, daemon=True)
        thread.start()
        session = server.accept()
        session.welcome()
        assert session.receive(Models).loaded == ("two",)
        assert session.all[-2:] == [ready, Models(loaded=("two",), known=())]
        session.close()
        thread.join(60)


def test_what_is_said_while_nobody_listens_is_dropped(server: BotServer) -> None:
    connection = BotConnection(Address.parse(server.address), KEY, hello, Inbox())
    connection.send(Done(job="a", attempt=1, gpu_ms=1))
    assert not connection.flush(0.01)


@pytest.mark.parametrize("first", ["nothing", "another version", "noise"])
def test_another_side_that_is_no_bot_is_left_with_a_sentence(server: BotServer, first: str) -> None:
    connection = BotConnection(Address.parse(server.address), KEY, hello, Inbox())
    errors: list[BaseException] = []

    def run() -> None:
        try:
            connection.run(once=True)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    session = server.accept()
    if first == "another version":
        session.send(Challenge(protocol=PROTOCOL + 1, nonce="00"))
    elif first == "noise":
        session.sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    session.close()
    thread.join(60)
    assert len(errors) == 1
    if first != "noise":
        assert isinstance(errors[0], WorkerRefused)


@pytest.mark.parametrize("text", ["", "x", "unix:", ":1", "a:b", "a:0", "a:70000"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unix:PATH"):
        Address.parse(text)


def test_addresses_of_both_kinds_are_read() -> None:
    assert Address.parse("unix:/tmp/s").path == "/tmp/s"
    assert (Address.parse("[::1]:99").host, Address.parse("far.example:99").port) == ("::1", 99)
