"""The port for remote workers: what keeps it shut is a sentence about its setting, for the start and for the doctor."""

import asyncio
import socket

import pytest

from bot import doctor
from bot.workers import tcp_listener
from bot.workers.tcp_listener import Taken
from core.errors import ConfigError


async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a..b"])
async def test_an_address_of_another_machine_is_named_with_the_cure(host: str) -> None:
    for wanted in (tcp_listener.listen(nobody, host, 8801), tcp_listener.attempt(host, 8801)):
        with pytest.raises(ConfigError, match=rf"DARKROOM_WORKER_LISTEN is “{host}:8801”.*0\.0\.0\.0:8801 for all"):
            await wanted


async def test_a_busy_port_is_said_and_excused_only_where_the_bot_itself_may_have_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Taken, match="choose another port"):
            await tcp_listener.listen(nobody, "127.0.0.1", port)
        busy = await doctor._port("127.0.0.1", port, runs=False)
        ours = await doctor._port("127.0.0.1", port, runs=True)
    assert busy.ok is False and "another program is listening there" in busy.sentence
    assert ours.ok is None and "most likely by the running bot" in ours.sentence


async def test_trying_a_port_leaves_it_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    assert (await doctor._port("127.0.0.1", port, runs=False)).ok
    server = await tcp_listener.listen(nobody, "127.0.0.1", port)
    server.close()
    await server.wait_closed()
