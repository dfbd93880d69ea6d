"""POST reactions: a person's emoji under a message."""

from typing import Any

from sandbox.control.request import ControlRequest, Route
from sandbox.errors import ControlError
from sandbox.reactions import add_reaction, remove_reaction


async def toggle(request: ControlRequest) -> Any:
    user = request.person()
    record = request.seen_message(user)
    emoji = str(request.need("emoji"))
    if record["visible_to"]:
        raise ControlError("ephemeral", "A message that only you see takes no reactions.")
    channel = request.world.tables["channel"][record["channel_id"]]
    if emoji not in record["reactions"] and not request.world.may(user["id"], channel, "add_reactions"):
        raise ControlError("not_permitted", f"{user['global_name']} may not react here.", status=403)
    (remove_reaction if request.body.get("remove") else add_reaction)(request.world, record, user["id"], emoji)
    return {}


ROUTES: list[Route] = [("POST", "/reactions", toggle)]
