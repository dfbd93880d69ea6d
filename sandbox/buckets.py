"""Counts requests per bucket and says when one is too many. Pure: the time comes in by argument."""

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from sandbox.errors import RateLimited
from sandbox.limits import Limits

# Further requests of these kinds are outside the global limit, as Discord documents for interactions.
OUTSIDE_GLOBAL = ("/interactions/", "/webhooks/")
OTHERWISE = (50, 1.0)


@dataclass(slots=True)
class Window:
    """A bucket's current window: how many are left until it resets."""

    limit: int
    seconds: float
    resets_at: float = 0.0
    used: int = 0

    def spend(self, now: float) -> float:
        """Spend one; the seconds to wait instead when none is left."""
        if now >= self.resets_at:
            self.resets_at, self.used = now + self.seconds, 0
        if self.used >= self.limit:
            return self.resets_at - now
        self.used += 1
        return 0.0


@dataclass(slots=True)
class Buckets:
    """All windows by (bucket, major parameters)."""

    windows: dict[str, Window] = field(default_factory=dict)
    overall: Window = field(default_factory=lambda: Window(50, 1.0))

    def spend(self, limits: Limits, method: str, route: str, major: str, now: float) -> None:
        """Count one request. Raises RateLimited when it is one too many."""
        if limits.global_per_second and not route.startswith(OUTSIDE_GLOBAL):
            self.overall.limit = limits.global_per_second
            if wait := self.overall.spend(now):
                raise RateLimited(wait, scope="global")
        pair = pair_for(limits, method, route)
        if pair is None:
            return
        window = self._window(pair, f"{method} {route} {major}", now)
        if wait := window.spend(now):
            raise RateLimited(wait)

    def peek(self, limits: Limits, method: str, route: str, major: str, now: float) -> dict[str, str]:
        """The rate limit headers of a bucket as it stands; none for a route without a limit."""
        pair = pair_for(limits, method, route)
        window = self.windows.get(f"{method} {route} {major}")
        return headers_of(window, bucket_name(method, route), now) if pair and window else {}

    def _window(self, pair: tuple[int, float], key: str, now: float) -> Window:
        window = self.windows.get(key)
        if window is None or (window.limit, window.seconds) != pair:
            if len(self.windows) > 2000:
                self.windows = {name: old for name, old in self.windows.items() if old.resets_at > now}
            window = self.windows[key] = Window(*pair)
        return window


def pair_for(limits: Limits, method: str, route: str) -> tuple[int, float] | None:
    """The limit of a route: exact words first, then the last glob that fits, then the default of 50 a second."""
    exact = f"{method} {route}"
    globs = [(key, pair) for key, pair in limits.buckets.items() if "*" in key or key.startswith("/")]
    for key, pair in reversed(globs):
        if fnmatchcase(exact, key) or fnmatchcase(route, key):
            return pair
    return limits.buckets.get(exact, OTHERWISE)


def bucket_name(method: str, route: str) -> str:
    return hashlib.blake2s(f"{method} {route}".encode(), digest_size=16).hexdigest()


def headers_of(window: Window, name: str, now: float) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(window.limit),
        "X-RateLimit-Remaining": str(max(window.limit - window.used, 0)),
        "X-RateLimit-Reset": f"{window.resets_at:.3f}",
        "X-RateLimit-Reset-After": f"{max(window.resets_at - now, 0):.3f}",
        "X-RateLimit-Bucket": name,
    }
