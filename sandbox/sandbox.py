"""One sandbox: all its parts, made once and wired. Knows neither routes nor processes."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox.attachment_store import AttachmentStore
from sandbox.buckets import Buckets
from sandbox.clock import Clock, born_at
from sandbox.faults import Faults
from sandbox.gateway import Gateway
from sandbox.interactions import InteractionRegistry
from sandbox.limits import Limits, changed
from sandbox.object_store import ObjectStore
from sandbox.seed import seed
from sandbox.transcript import Transcript
from sandbox.value_types import Event
from sandbox.world import World

KEPT_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is set at the start. `base` is its address for the outside; `draws` says what its bot draws."""

    data: Path
    base: str
    token: str = "sandbox"  # noqa: S105 - the word that every local bot logs in with
    name: str = "Darkroom"
    privileged_intents: bool = False
    draws: str = ""


class Sandbox:
    """The parts, by name. `limits` are kept in the world, so that they too outlive a restart."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = Clock()
        self.transcript = Transcript(self.clock)
        self.store = ObjectStore(config.data / "world.sqlite3")
        self.world = World(self.store, self.clock, config.base)
        self.attachments = AttachmentStore(config.data / "attachments")
        self.buckets, self.faults = Buckets(), Faults()
        self.interactions = InteractionRegistry(self.world, self.clock)
        token, privileged = config.token, config.privileged_intents
        self.gateway = Gateway(self.world, self.clock, self.transcript, token=token, privileged=privileged)
        self.world.listeners += [self._note, self.gateway.tell]
        if self.world.load():
            self._sweep()
        else:
            seed(self.world, config.name)
        saved = self.world.get("meta", "limits")
        self.use(changed(Limits(), saved["value"]) if saved else Limits())

    def _note(self, event: Event) -> None:
        body = event.body | ({"visible_to": event.visible_to} if event.visible_to else {})
        self.transcript.add("event", name=event.name, body=body)

    def _sweep(self) -> None:
        """A start a day later forgets what only history holds: ended interactions, earlier states, their files."""
        world, before = self.world, self.clock.now() - KEPT_SECONDS
        for record in world.all("interaction"):
            if record["at"] < before:
                world.forget_interaction(record)
        for message_id in list(world.revisions):
            if born_at(message_id) < before:
                world.forget_revisions(message_id)
        world.commit()
        states = [*world.tables["message"].values(), *world.tables["revision"].values()]
        named = {str(item["id"]) for state in states for item in state["attachments"]}
        self.attachments.sweep(named, before)

    @property
    def limits(self) -> Limits:
        return self.interactions.limits

    def use(self, limits: Limits) -> None:
        self.interactions.limits = self.gateway.limits = limits

    def set_limits(self, wanted: dict[str, Any]) -> Limits:
        self.use(changed(self.limits, wanted))
        self.world.put("meta", "limits", {"value": asdict(self.limits)})
        self.world.commit()
        return self.limits

    async def reset(self) -> None:
        """The starting world again; the bot is disconnected and identifies anew, which discord.py does after five
        seconds. Its own id and its commands stay, since it would not register them again."""
        await self.gateway.act("disconnect", resumable=False)
        bot, commands = self.world.bot_id, self.world.all("command")
        self.world.clear()
        for command in commands:
            if not command.get("guild_id"):
                self.world.put("command", command["id"], command)
        self.attachments.clear()
        self.buckets, self.faults = Buckets(), Faults()
        self.use(Limits())
        seed(self.world, self.config.name, bot_id=bot)

    def close(self) -> None:
        self.store.close()
