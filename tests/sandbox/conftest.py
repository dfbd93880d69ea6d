"""A sandbox in this process, with and without a bot in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.running_sandbox import RunningSandbox, running_sandbox
from tests.sandbox import openapi_validator
from tests.sandbox.rest_client import RestClient
from tests.sandbox.sample_bot import SampleBot, joined


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[RunningSandbox]:
    async with running_sandbox(tmp_path / "sandbox") as running:
        yield running


@pytest.fixture
async def bot(sandbox: RunningSandbox) -> AsyncIterator[SampleBot]:
    """A discord.py bot; what was said between the two is held against the vendor's description at the end."""
    async with joined(sandbox.url) as bot:
        yield bot
        if not openapi_validator.missing():
            assert openapi_validator.check(await sandbox.control.transcript()) == []


@pytest.fixture
async def rest(sandbox: RunningSandbox) -> AsyncIterator[RestClient]:
    """Bare requests, often wrong on purpose; the sandbox's answers are held against the vendor's description."""
    async with RestClient(sandbox) as rest:
        yield rest
        if not openapi_validator.missing():
            entries = await sandbox.control.transcript()
            assert [
                p for p in openapi_validator.check(entries) if " answer: " in p and "is not in the desc" not in p
            ] == []
