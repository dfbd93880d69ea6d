"""The link that adds the bot to a server, with the permissions that it asks for there. Knows no application."""

from bot.interactions import DISCORD

#: View, send, send in threads, embed, attach, read history, use other servers' emoji.
PERMISSIONS = (1 << 10) | (1 << 11) | (1 << 38) | (1 << 14) | (1 << 15) | (1 << 16) | (1 << 18)


def invite_link(application: str) -> str:
    """For the application with this id."""
    return (
        f"{DISCORD}/oauth2/authorize?client_id={application}&scope=bot+applications.commands&permissions={PERMISSIONS}"
    )
