"""Does what a person does in the sandbox: one method for each call of its control interface. Knows no bot."""

import base64
from types import TracebackType
from typing import Any, Self

import aiohttp

Json = dict[str, Any]


class ControlRefused(AssertionError):
    """The sandbox refused a call; `code` and `sentence` say why, `body` holds all."""

    def __init__(self, status: int, body: Json) -> None:
        error = body.get("error", {})
        super().__init__(f"{status} {error.get('code')}: {error.get('sentence')} {error.get('there', '')}")
        self.status, self.code, self.sentence, self.body = status, error.get("code"), error.get("sentence"), body


def file(filename: str, data: bytes, content_type: str = "application/octet-stream") -> Json:
    """A FILE of the control interface."""
    return {"filename": filename, "content_type": content_type, "data": base64.b64encode(data).decode()}


class ControlClient:
    """`async with Control(url) as control:`; every method raises ControlRefused when the sandbox refuses."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def call(self, method: str, path: str, body: Json | None = None, **query: Any) -> Any:
        """Any call; fields that are None are left out."""
        assert self._session is not None, "use `async with Control(url)`"
        sent = None if body is None else {name: value for name, value in body.items() if value is not None}
        params = {name: str(value) for name, value in query.items() if value is not None}
        async with self._session.request(method, f"{self.url}/control/{path}", json=sent, params=params) as response:
            answer = await response.json()
            if response.status >= 400:
                raise ControlRefused(response.status, answer)
            return answer

    async def _object(self, method: str, path: str, body: Json | None = None) -> Json:
        found: Json = await self.call(method, path, body)
        return found

    # The world

    async def state(self) -> Json:
        return await self._object("GET", "state")

    async def create(self, kind: str, **fields: Any) -> Json:
        """kind: guilds, channels, members or roles."""
        return await self._object("POST", kind, fields)

    async def change(self, kind: str, key: str, **fields: Any) -> Json:
        return await self._object("PATCH", f"{kind}/{key}", fields)

    async def remove(self, kind: str, key: str, **fields: Any) -> Json:
        return await self._object("DELETE", f"{kind}/{key}", fields or None)

    # What a person does

    async def command(
        self, *, as_: str, channel: str, name: str, options: Json | None = None, install: str | None = None, **more: Any
    ) -> Json:
        body = {"as": as_, "channel": channel, "name": name, "options": options, "install": install}
        return await self._object("POST", "commands", body | more)

    async def context_menu(
        self, *, as_: str, channel: str, name: str, message: str | None = None, user: str | None = None, **more: Any
    ) -> Json:
        body = {"as": as_, "channel": channel, "name": name, "message": message, "user": user}
        return await self._object("POST", "context-menus", body | more)

    async def press(
        self,
        *,
        as_: str,
        message: str,
        label: str | None = None,
        custom_id: str | None = None,
        values: list[Any] | None = None,
    ) -> Json:
        body = {"as": as_, "message": message, "label": label, "custom_id": custom_id, "values": values}
        return await self._object("POST", "components", body)

    async def submit(self, *, as_: str, interaction: str, values: Json) -> Json:
        return await self._object("POST", "modals", {"as": as_, "interaction": interaction, "values": values})

    async def dismiss(self, *, as_: str, interaction: str) -> Json:
        return await self._object("POST", "modals", {"as": as_, "interaction": interaction, "dismiss": True})

    async def autocomplete(
        self, *, as_: str, channel: str, name: str, option: str, value: Any = "", options: Json | None = None
    ) -> Json:
        body = {"as": as_, "channel": channel, "name": name, "option": option, "value": value, "options": options}
        return await self._object("POST", "autocomplete", body)

    async def say(
        self,
        *,
        as_: str,
        channel: str,
        content: str | None = None,
        files: list[Json] | None = None,
        reply_to: str | None = None,
    ) -> Json:
        body = {"as": as_, "channel": channel, "content": content, "files": files, "reply_to": reply_to}
        return await self._object("POST", "messages", body)

    async def edit(self, *, as_: str, message: str, content: str) -> Json:
        return await self._object("PATCH", f"messages/{message}", {"as": as_, "content": content})

    async def delete(self, *, as_: str, message: str) -> Json:
        return await self._object("DELETE", f"messages/{message}", {"as": as_})

    async def react(self, *, as_: str, message: str, emoji: str, remove: bool | None = None) -> Json:
        return await self._object(
            "POST", "reactions", {"as": as_, "message": message, "emoji": emoji, "remove": remove}
        )

    # What a person sees

    async def messages(self, *, as_: str, channel: str, after: str | None = None) -> list[Json]:
        who: dict[str, Any] = {"as": as_}
        found: list[Json] = await self.call("GET", "messages", None, channel=channel, after=after, **who)
        return found

    async def wait(self, *, as_: str, channel: str, timeout_ms: int = 20_000, **until: Any) -> Json:
        """until: message, content_contains, button, attachments, deleted."""
        body = {"as": as_, "channel": channel, "until": until, "timeout_ms": timeout_ms}
        return await self._object("POST", "wait", body)

    async def download(self, url: str) -> bytes:
        assert self._session is not None
        async with self._session.get(url) as response:
            response.raise_for_status()
            return await response.read()

    # What only a test does

    async def transcript(self, after: int = 0) -> list[Json]:
        found: list[Json] = await self.call("GET", "transcript", after=after)
        return found

    async def limits(self, **wanted: Any) -> Json:
        return await self._object("POST", "limits", wanted)

    async def fault(self, method: str, route: str, *, times: int = 1, **fields: Any) -> int:
        """fields: status, code, retry_after, delay_ms, drop ("before" or "after")."""
        answer = await self.call("POST", "faults", {"method": method, "route": route, "times": times} | fields)
        return int(answer["id"])

    async def clear_faults(self) -> None:
        await self.call("DELETE", "faults")

    async def gateway(self, action: str, *, resumable: bool | None = None) -> None:
        await self.call("POST", "gateway", {"action": action, "resumable": resumable})

    async def reset(self) -> None:
        await self.call("POST", "reset")

    def events(self) -> aiohttp.client._WSRequestContextManager:
        """`async with control.events() as socket:`; each frame is an entry of the transcript."""
        assert self._session is not None
        return self._session.ws_connect(f"{self.url}/control/events")
