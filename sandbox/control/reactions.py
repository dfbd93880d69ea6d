"""POST reactions: a person's emoji under a message."""

from typing import Any

from sandbox.control.request import ControlRequest, Route
from sandbox.errors import ControlError
from sandbox.reactions import MOST_EMOJI, add_reaction, remove_reaction
from sandbox.validate import is_emoji


async def toggle(request: ControlRequest) -> Any:
    user = request.person()
    record = request.seen_message(user)
    emoji = str(request.need("emoji"))
    if record["visible_to"]:
        raise ControlError("ephemeral", "A message that only you see takes no reactions.")
    channel = request.world.tables["channel"][record["channel_id"]]
    if emoji not in record["reactions"] and not request.world.may(user["id"], channel, "add_reactions"):
        raise ControlError("not_permitted", f"{user['global_name']} may not react here.", status=403)
    if not is_emoji(emoji):
        raise ControlError("unknown_emoji", f"{emoji} is no emoji.")
    if emoji not in record["reactions"] and len(record["reactions"]) >= MOST_EMOJI:
        raise ControlError("too_many_reactions", f"A message takes {MOST_EMOJI} different reactions at most.")
    (remove_reaction if request.body.get("remove") else add_reaction)(request.world, record, user["id"], emoji)
    return {}


ROUTES: list[Route] = [("POST", "/reactions", toggle)]
