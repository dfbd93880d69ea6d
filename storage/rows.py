"""Turns rows into values and values into parameters: the boundary between SQLite and the program. Runs no statement."""

import json
import sqlite3
from typing import Any

from core.fairness import WaitingJob
from core.job import Account, Job, Kind, Lane, MadeWith, Request, Source, State, Where


def job_of(row: sqlite3.Row) -> Job:
    """A row of `job`, whole."""
    return Job(
        id=row["id"],
        kind=Kind(row["kind"]),
        state=State(row["state"]),
        lane=Lane(row["lane"]),
        account=Account.parse(row["account"]),
        user=row["user"],
        where=_where_of(row),
        typed=row["typed"],
        request=Request.from_dict(json.loads(row["request"])),
        source=None if row["source_job"] is None else Source(job=row["source_job"], index=row["source_index"]),
        attempt=row["attempt"],
        strikes=row["strikes"],
        solo=bool(row["solo"]),
        multiplier=row["multiplier"],
        estimate_ms=row["estimate_ms"],
        reserved_ms=row["reserved_ms"],
        gpu_ms=row["gpu_ms"],
        charged_ms=row["charged_ms"],
        made_with=None if row["made_with"] is None else MadeWith.from_dict(json.loads(row["made_with"])),
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        failure=row["failure"],
        notes=tuple(json.loads(row["notes"])),
        cancel_requested=row["unwanted_at"] is not None,
        deleted_at=row["deleted_at"],
    )


def _where_of(row: sqlite3.Row) -> Where:
    return Where(
        guild=row["guild"],
        channel=row["channel"],
        message=row["message"],
        interaction=row["interaction"],
        token=row["token"],
        token_expires_at=row["token_expires_at"],
        locale=row["locale"],
        private=bool(row["private"]),
    )


def job_columns(job: Job) -> dict[str, Any]:
    """What a job's row starts with: columns by name."""
    where = job.where
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "lane": job.lane,
        "account": job.account.key(),
        "user": job.user,
        "multiplier": job.multiplier,
        "guild": where.guild,
        "channel": where.channel,
        "message": where.message,
        "interaction": where.interaction,
        "token": where.token,
        "token_expires_at": where.token_expires_at,
        "locale": where.locale,
        "private": int(where.private),
        "typed": job.typed,
        "request": json.dumps(job.request.to_dict(), ensure_ascii=False),
        "batch_key": job.request.batch_key(),
        "rows": job.request.count,
        "source_job": job.source.job if job.source else None,
        "source_index": job.source.index if job.source else None,
        "notes": json.dumps(job.notes, ensure_ascii=False),
        "estimate_ms": job.estimate_ms,
        "reserved_ms": job.reserved_ms,
        "created_at": job.created_at,
    }


def waiting_of(row: sqlite3.Row) -> WaitingJob:
    """A row of `job` as far as its turn is concerned."""
    return WaitingJob(
        job=row["id"],
        lane=Lane(row["lane"]),
        account=row["account"],
        key=row["batch_key"],
        estimate_ms=row["estimate_ms"],
        order=row["seq"],
        rows=row["rows"],
        solo=bool(row["solo"]),
    )
