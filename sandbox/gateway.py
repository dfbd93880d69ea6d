"""The gateway: sessions, sequence numbers, heartbeats, resume. Tells bots what the world emits; changes nothing itself.

A session outlives its connection for two minutes, so that a bot that comes back with RESUME hears what it missed.
After a restart of the sandbox no session is known, and RESUME is answered with "invalid session": identify anew.
"""

import asyncio
import json
import secrets
from collections import deque
from contextlib import suppress

from aiohttp import WSMsgType, web

from sandbox.clock import Clock
from sandbox.limits import Limits
from sandbox.messages import for_bot
from sandbox.serializers import MESSAGE_CONTENT_LIMITED, guild_create, member_object, user_object
from sandbox.transcript import Transcript
from sandbox.value_types import Event, Json
from sandbox.world import World

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, MEMBERS, INVALID, HELLO, ACK = 0, 1, 2, 6, 7, 8, 9, 10, 11
CONTENT_INTENT, PRIVILEGED = 1 << 15, 1 << 1 | 1 << 8 | 1 << 15
KEPT_SECONDS, KEPT_EVENTS = 120, 2000
ACK_SECONDS = 0.04


def intent_of(event: Event) -> int:
    """The intent bit that an event needs; 0 for those that everyone hears."""
    direct = 0 if event.guild_id else 3
    name = event.name
    if name.startswith("MESSAGE_REACTION"):
        return 1 << 10 + direct
    if name.startswith("MESSAGE_"):
        return 1 << 9 + direct
    if name.startswith("TYPING"):
        return 1 << 11 + direct
    if name.startswith("GUILD_MEMBER"):
        return 1 << 1
    return 1 if name.startswith(("GUILD_", "CHANNEL_", "THREAD_")) and event.guild_id else 0


class Session:
    """One identified bot: what it was told, and the connection that it has now, if any."""

    def __init__(self, intents: int) -> None:
        self.id = secrets.token_hex(16)
        self.intents = intents
        self.sent_events: deque[tuple[int, str]] = deque(maxlen=KEPT_EVENTS)
        self.seq = 0
        self.connection: Connection | None = None
        self.lost_at: float | None = None

    def tell(self, name: str, body: str) -> None:
        """Number an event, keep it for a resume, and send it when somebody listens."""
        self.seq += 1
        text = f'{{"op":0,"t":"{name}","s":{self.seq},"d":{body}}}'
        self.sent_events.append((self.seq, text))
        if self.connection:
            self.connection.send_text(text)


class Connection:
    """One socket. Sending goes through a queue, so that telling never waits."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket, self.silent = socket, False
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        with suppress(ConnectionError, RuntimeError):
            while True:
                await self.socket.send_str(await self._queue.get())

    def send_text(self, text: str) -> None:
        if not self.silent:
            self._queue.put_nowait(text)

    def send(self, op: int, data: object = None) -> None:
        self.send_text(json.dumps({"op": op, "d": data, "s": None, "t": None}))

    async def close(self, code: int) -> None:
        try:
            await asyncio.sleep(0)
        finally:  # also when whoever closes is cancelled
            self._writer.cancel()
        with suppress(asyncio.CancelledError):
            await self._writer
        await self.socket.close(code=code)


class Gateway:
    """All sessions of a sandbox."""

    def __init__(self, world: World, clock: Clock, transcript: Transcript, *, token: str, privileged: bool) -> None:
        self._world, self._clock, self._transcript = world, clock, transcript
        self._token, self._privileged = token, privileged
        self.limits = Limits()
        self.sessions: dict[str, Session] = {}
        self._connections: set[Connection] = set()

    @property
    def online(self) -> bool:
        return any(session.connection for session in self.sessions.values())

    # Telling

    def tell(self, event: Event) -> None:
        """Pass an event on to the bots that may hear it."""
        if not event.to_bot or not self.sessions or not self._may_be_told(event):
            return
        self._expire()
        plain: str | None = None
        for session in tuple(self.sessions.values()):
            need = intent_of(event)
            mine = event.name == "GUILD_MEMBER_UPDATE" and event.body["user"]["id"] == self._world.bot_id
            if need and not session.intents & need and not mine:
                continue
            body = event.bot_body or event.body
            if event.name in ("MESSAGE_CREATE", "MESSAGE_UPDATE"):
                content = bool(session.intents & CONTENT_INTENT)
                body = for_bot(body, self._world.bot_id, direct=event.guild_id is None, content_intent=content)
                session.tell(event.name, _compact(body))
                continue
            plain = plain or _compact(body)
            session.tell(event.name, plain)

    def _may_be_told(self, event: Event) -> bool:
        """Whether the bot is where it happened. Interactions and its own leaving reach it anyway."""
        if event.name in ("INTERACTION_CREATE", "GUILD_DELETE"):
            return True
        if event.guild_id and self._world.member(event.guild_id, self._world.bot_id) is None:
            return False
        channel = self._world.get("channel", event.channel_id) if event.channel_id else None
        if channel is None or not event.name.startswith(("MESSAGE_", "TYPING")):
            return True
        return self._world.may(self._world.bot_id, channel, "view_channel")

    # Listening

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """GET /gateway: one bot's connection, from HELLO to its end."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=0)
        await socket.prepare(request)
        connection = Connection(socket)
        self._connections.add(connection)
        connection.send(HELLO, {"heartbeat_interval": self.limits.heartbeat_ms})
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT and not connection.silent:
                    await self._receive(connection, json.loads(message.data))
        finally:
            self._disconnected(connection)
            await connection.close(1000)
        return socket

    async def _receive(self, connection: Connection, message: Json) -> None:
        op, data = message.get("op"), message.get("d")
        if op == HEARTBEAT:
            # discord.py notes when it asked only afterwards: an instant answer would look a whole interval late.
            asyncio.get_running_loop().call_later(ACK_SECONDS, connection.send, ACK)
        elif op == IDENTIFY:
            await self._identify(connection, data or {})
        elif op == RESUME:
            await self._resume(connection, data or {})
        elif op == MEMBERS:
            self._members(connection, data or {})

    async def _identify(self, connection: Connection, data: Json) -> None:
        if str(data.get("token", "")).removeprefix("Bot ") != self._token:
            await connection.close(4004)
            return
        intents = int(data.get("intents") or 0)
        if intents & PRIVILEGED and not self._privileged:
            await connection.close(4014)
            return
        self._forget_lost()
        session = Session(intents)
        self.sessions[session.id] = session
        self._join(session, connection)
        self._ready(session, data.get("shard") or [0, 1])

    def _ready(self, session: Session, shard: list[int]) -> None:
        world = self._world
        guilds = [g for g in world.all("guild") if world.member(g["id"], world.bot_id)]
        application = {"id": world.meta("application"), "flags": MESSAGE_CONTENT_LIMITED if self._privileged else 0}
        body: Json = {"v": 10, "user": user_object(world.tables["user"][world.bot_id]), "session_id": session.id}
        body |= {
            "guilds": [{"id": g["id"], "unavailable": True} for g in guilds],
            "shard": shard,
            "private_channels": [],
        }
        body |= {"application": application, "resume_gateway_url": gateway_url(world.base), "session_type": "normal"}
        session.tell("READY", _compact(body))
        self._transcript.add("event", name="READY", body={"session_id": session.id, "user": body["user"]})
        for guild in guilds:
            session.tell("GUILD_CREATE", _compact(guild_create(world, guild)))

    async def _resume(self, connection: Connection, data: Json) -> None:
        session, seq = self.sessions.get(str(data.get("session_id"))), int(data.get("seq") or 0)
        missing = session is None or (session.sent_events and session.sent_events[0][0] > seq + 1)
        if session is None or missing or data.get("token") != self._token:
            self._transcript.add("event", name="INVALID_SESSION", body={"session_id": data.get("session_id")})
            connection.send(INVALID, False)
            return
        if session.connection:
            await session.connection.close(4000)
        self._join(session, connection)
        for number, text in tuple(session.sent_events):
            if number > seq:
                connection.send_text(text)
        session.tell("RESUMED", "{}")
        self._transcript.add("event", name="RESUMED", body={"session_id": session.id})

    def _members(self, connection: Connection, data: Json) -> None:
        """REQUEST_GUILD_MEMBERS: one chunk with those asked for by id, or all that the intent allows."""
        session = next((s for s in self.sessions.values() if s.connection is connection), None)
        if session is None:
            return
        wanted = data.get("user_ids") or []
        ids = {str(key) for key in (wanted if isinstance(wanted, list) else [wanted])}
        members = [m for m in self._world.members_of(str(data.get("guild_id"))) if not ids or m["user_id"] in ids]
        body = {"guild_id": str(data.get("guild_id")), "members": [member_object(self._world, m) for m in members]}
        session.tell(
            "GUILD_MEMBERS_CHUNK", _compact(body | {"chunk_index": 0, "chunk_count": 1, "nonce": data.get("nonce")})
        )

    def _join(self, session: Session, connection: Connection) -> None:
        was_online = self.online
        session.connection, session.lost_at = connection, None
        if not was_online:
            self._transcript.add("event", name="BOT_ONLINE", body={})

    def _disconnected(self, connection: Connection) -> None:
        self._connections.discard(connection)
        for session in self.sessions.values():
            if session.connection is connection:
                session.connection, session.lost_at = None, self._clock.now()
                if not self.online:
                    self._transcript.add("event", name="BOT_OFFLINE", body={})

    def _forget_lost(self) -> None:
        """Drop sessions that nobody came back for: on a new identify all of them, as one bot has one session."""
        for key, session in list(self.sessions.items()):
            if session.connection is None:
                del self.sessions[key]

    def _expire(self) -> None:
        """Drop sessions that were lost longer ago than a resume is possible."""
        now = self._clock.now()
        for key, session in list(self.sessions.items()):
            if session.lost_at is not None and now - session.lost_at > KEPT_SECONDS:
                del self.sessions[key]

    # What a test may do

    async def act(self, action: str, *, resumable: bool = True) -> None:
        """disconnect, reconnect, invalid_session, silence, second_ready."""
        for session in list(self.sessions.values()):
            connection = session.connection
            if not resumable or action == "second_ready":
                self.sessions.pop(session.id, None)
                session.lost_at = self._clock.now()
            if connection is None:
                continue
            if action == "silence":
                connection.silent = True
            elif action == "reconnect":
                connection.send(RECONNECT)
            elif action == "invalid_session":
                connection.send(INVALID, resumable)
            else:
                session.connection = None
                session.lost_at = self._clock.now()
                await connection.close(4000)
                self._transcript.add("event", name="BOT_OFFLINE", body={})

    async def close(self) -> None:
        for connection in tuple(self._connections):
            await connection.close(1001)


def gateway_url(base: str) -> str:
    return base.replace("http", "ws", 1) + "/gateway"


def _compact(body: Json) -> str:
    return json.dumps(body, separators=(",", ":"))
