"""Lateness and the owners: what the client decides without Discord."""

import time
from types import SimpleNamespace

import discord

from bot.interactions.client import InteractionDeadline, owners_of


class Clocks:
    """Discord's clock, and our monotonic one, which starts anywhere."""

    def __init__(self):
        self.now, self.mono = 1000.0, 0.0

    def pass_(self, seconds):
        self.now += seconds
        self.mono += seconds


def lateness(clocks):
    return InteractionDeadline(lambda: clocks.mono)


def test_an_interaction_that_lay_too_long_is_not_answered():
    clocks = Clocks()
    guard = lateness(clocks)
    assert not guard.too_late(clocks.now - 0.1)
    created = clocks.now
    clocks.pass_(4)
    assert guard.too_late(created)
    assert not guard.too_late(clocks.now - 0.2)


def test_a_clock_that_is_minutes_off_refuses_nobody():
    for off in (-300, 300):
        clocks = Clocks()
        guard = lateness(clocks)
        for _ in range(5):
            assert not guard.too_late(clocks.now + off)
            clocks.pass_(10)


def test_a_clock_of_discord_that_is_corrected_refuses_nobody_for_longer_than_a_minute():
    clocks = Clocks()
    guard = lateness(clocks)
    assert not guard.too_late(clocks.now)
    clocks.now -= 100
    clocks.pass_(61)
    assert not guard.too_late(clocks.now)


def test_our_own_wall_clock_has_no_say_in_lateness(monkeypatch):
    guard = InteractionDeadline()
    created = time.time()
    assert not guard.too_late(created)
    monkeypatch.setattr(time, "time", lambda: created + 3600)
    assert not guard.too_late(created)


def team_of(*members: tuple[object, object]) -> SimpleNamespace:
    """Owned by number 0. Each: whether it has accepted, and its role."""
    found = [
        SimpleNamespace(id=number, membership_state=state, role=role) for number, (state, role) in enumerate(members)
    ]
    return SimpleNamespace(team=SimpleNamespace(members=found, owner_id=0))


def test_who_was_only_invited_to_the_team_or_may_only_read_is_no_owner():
    accepted, invited = discord.TeamMembershipState.accepted, discord.TeamMembershipState.invited
    admin, developer, reader = discord.TeamMemberRole
    team = [(accepted, reader), (invited, admin), (accepted, developer), (accepted, reader), (accepted, admin)]
    assert owners_of(team_of(*team)) == {"0", "2", "4"}
