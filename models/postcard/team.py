"""Several single-threaded processes that train one model together: each takes its share of a batch.

On a busy machine this is faster than one process of several threads, whose threads wait for each other at every
operation. Knows no models.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn


@dataclass(frozen=True, slots=True)
class Team:
    """One member's view of the team."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this member saves and speaks."""
        return self.rank == 0

    def share_gradients(self, model: nn.Module) -> None:
        """Replace each member's gradients by the mean over the team."""
        if self.size == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for part, gradient in zip(flat.split([g.numel() for g in gradients]), gradients, strict=True):
            gradient.copy_(part.view_as(gradient))

    def leads_say(self, value: float) -> float:
        """The leader's number, for all: members must agree on when to stop."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(told, 0)
        return float(told)


def free_port() -> int:
    """A port nobody uses right now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def _member(rank: int, size: int, port: int, work: Callable[..., None], args: tuple[object, ...]) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})  # the kernel else puts two members on one core at times
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    dist.init_process_group("gloo", rank=rank, world_size=size)
    work(Team(rank, size), *args)
    dist.destroy_process_group()


def together(size: int, work: Callable[..., None], *args: object) -> None:
    """Run `work(team, *args)` in so many processes at once; returns when all are done."""
    if size == 1:
        work(Team(), *args)
        return
    mp.spawn(_member, (size, free_port(), work, args), nprocs=size)


def same_start(model: nn.Module, team: Team) -> None:
    """All members begin with the leader's weights."""
    if team.size > 1:
        for value in model.state_dict().values():
            dist.broadcast(value, 0)
