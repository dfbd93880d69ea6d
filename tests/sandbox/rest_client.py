"""The bot's side without discord.py: bare requests, so that a test sees statuses, codes and headers."""

import asyncio
import json
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.harness.running_sandbox import RunningSandbox

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> int | None:
        return self.body.get("code") if isinstance(self.body, dict) else None


class RestClient:
    """`async with Rest(running) as rest:`"""

    def __init__(self, running: RunningSandbox, token: str = "sandbox") -> None:
        self.running, self.token = running, token
        self.session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.session is not None
        await self.session.close()

    async def __call__(
        self, method: str, route: str, body: Any = None, files: dict[str, bytes] | None = None
    ) -> Answer:
        assert self.session is not None
        data: Any = None
        headers = {"Authorization": f"Bot {self.token}"}
        if files is not None:
            data = aiohttp.FormData(quote_fields=False)
            data.add_field("payload_json", json.dumps(body or {}))
            for number, (name, content) in enumerate(files.items()):
                data.add_field(f"files[{number}]", content, filename=name, content_type="application/octet-stream")
        elif body is not None:
            data, headers["Content-Type"] = json.dumps(body), "application/json"
        url = f"{self.running.url}/api/v10{route}"
        async with self.session.request(method, url, data=data, headers=headers) as response:
            raw = await response.read()
            kind = response.headers.get("Content-Type")
            found = json.loads(raw) if kind == "application/json" else raw
            return Answer(status=response.status, body=found, headers=dict(response.headers))

    async def application(self) -> str:
        return str((await self("GET", "/oauth2/applications/@me")).body["id"])

    async def register(self, *commands: Json) -> Answer:
        return await self("PUT", f"/applications/{await self.application()}/commands", list(commands))

    async def channel(self, name: str = "general") -> str:
        state = await self.running.control.state()
        return str(next(c["id"] for c in state["guilds"][0]["channels"] if c["name"] == name))

    async def say(self, content: str = "hello", channel: str = "general", **more: Any) -> Answer:
        return await self("POST", f"/channels/{await self.channel(channel)}/messages", {"content": content, **more})

    async def asked(self, name: str = "imagine", **options: Any) -> "PendingInteraction":
        """A person runs a command; the interaction as the gateway sent it, and the call that waits for the answer."""
        body: Json = {"as_": "alice", "channel": "general", "name": name} | options
        return await self.started(self.running.control.command(**body))

    async def started(self, call: Any) -> "PendingInteraction":
        after = len(await self.running.control.transcript())
        waiting = asyncio.create_task(call)
        async with asyncio.timeout(5):
            while True:
                for entry in (await self.running.control.transcript())[after:]:
                    if entry.get("name") == "INTERACTION_CREATE":
                        return PendingInteraction(interaction=entry["body"], waiting=waiting)
                if waiting.done():
                    waiting.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingInteraction:
    interaction: Json
    waiting: "asyncio.Task[Json]"

    @property
    def callback(self) -> str:
        return f"/interactions/{self.interaction['id']}/{self.interaction['token']}/callback"

    @property
    def webhook(self) -> str:
        return f"/webhooks/{self.interaction['application_id']}/{self.interaction['token']}"


IMAGINE: Json = {"name": "imagine", "description": "Make pictures"}


def problems(answer: Answer) -> dict[str, str]:
    """{path: code} of an invalid form body."""
    assert (answer.status, answer.code) == (400, 50035), answer.body
    found: dict[str, str] = {}

    def walk(node: Json, path: str) -> None:
        for name, inner in node.items():
            if name == "_errors":
                found[path] = inner[0]["code"]
            else:
                walk(inner, f"{path}.{name}".lstrip("."))

    walk(answer.body["errors"], "")
    return found
