"""Jobs as values, for tests that need no storage."""

from typing import Any

from core.job import Account, Job, Kind, Lane, PayerKind, Request, State, Where

NOW = 1000.0


def a_request(**changes: Any) -> Request:
    """A small one."""
    plain: dict[str, Any] = {
        "prompt": "a red boat",
        "width": 256,
        "height": 256,
        "seed": 7,
        "steps": 20,
        "guidance": 5.0,
        "sampler": "euler",
        "model": "postcard",
    }
    return Request(**plain | changes)


def a_job(*, request: Request | None = None, message: str | None = "4000", **changes: Any) -> Job:
    """A grid that waits in the fast lane."""
    where = Where(
        guild="1000", channel="2000", message=message, interaction="3000", token="secret", token_expires_at=NOW + 900
    )
    plain: dict[str, Any] = {
        "id": "abcdefgh12345678",
        "kind": Kind.GRID,
        "state": State.QUEUED,
        "lane": Lane.FAST,
        "account": Account(kind=PayerKind.MEMBER, server="1000", id="5000"),
        "user": "5000",
        "where": where,
        "typed": "a red boat",
        "request": request or a_request(),
        "created_at": NOW,
    }
    return Job(**plain | changes)
