"""Jobs as values, for tests that need one and care about few of its fields."""

from typing import Any

from core.job import Account, Job, Kind, Lane, PayerKind, Request, State, Where


def a_job(job_id: str = "job1", **changes: Any) -> Job:
    """A queued grid of alice's."""
    values: dict[str, Any] = {
        "id": job_id,
        "kind": Kind.GRID,
        "state": State.QUEUED,
        "lane": Lane.FAST,
        "account": Account(kind=PayerKind.MEMBER, server="1", id="alice"),
        "user": "alice",
        "where": Where(guild="1", channel="2", message="3", interaction="4", token="t", token_expires_at=0.0),
        "typed": "a red boat",
        "request": Request(
            prompt="a red boat", width=64, height=64, seed=7, steps=4, guidance=5.0, sampler="euler", model="postcard"
        ),
        "created_at": 0.0,
    }
    return Job(**(values | changes))
