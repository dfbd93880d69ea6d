"""POST reactions: a person's emoji under a message."""

from typing import Any

from sandbox.control.request import Ask, Route
from sandbox.errors import ControlError
from sandbox.rest.reactions import react, unreact


async def toggle(ask: Ask) -> Any:
    user = ask.person()
    record = ask.seen_message(user)
    emoji = str(ask.need("emoji"))
    if record["visible_to"]:
        raise ControlError("ephemeral", "A message that only you see takes no reactions.")
    channel = ask.world.tables["channel"][record["channel_id"]]
    if emoji not in record["reactions"] and not ask.world.may(user["id"], channel, "add_reactions"):
        raise ControlError("not_permitted", f"{user['global_name']} may not react here.", status=403)
    (unreact if ask.body.get("remove") else react)(ask.world, record, user["id"], emoji)
    return {}


ROUTES: list[Route] = [("POST", "/reactions", toggle)]
