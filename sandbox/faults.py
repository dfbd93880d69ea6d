"""Keeps the faults that a test ordered and finds the one that is due. Knows nothing of HTTP."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from sandbox.errors import ControlError
from sandbox.value_types import Json

_NUMBERS: dict[str, type | tuple[type, ...]] = {
    "status": int,
    "code": int,
    "retry_after": (int, float),
    "delay_ms": (int, float),
    "times": int,
}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One ordered fault. `times` counts down; `drop` cuts the connection before or after the work is done.

    `page`: the answer is a page of whatever stands before Discord, as it keeps an address out, and no JSON.
    """

    id: int
    method: str
    route: str
    status: int | None = None
    code: int = 0
    retry_after: float | None = None
    delay_ms: int = 0
    drop: str | None = None
    page: bool = False
    times: int = 1


@dataclass(slots=True)
class Faults:
    """Those still to come, oldest first."""

    waiting: list[Fault] = field(default_factory=list)
    made: int = 0

    def order(self, wanted: Json) -> Fault:
        known = {"method", "route", "status", "code", "retry_after", "delay_ms", "drop", "page", "times"}
        if unknown := set(wanted) - known:
            raise ControlError("unknown_field", f"A fault has no {', '.join(sorted(unknown))}.")
        if wanted.get("drop") not in (None, "before", "after"):
            raise ControlError("bad_drop", 'drop must be "before" or "after".')
        if not isinstance(wanted.get("page", False), bool) or (wanted.get("page") and not wanted.get("status")):
            raise ControlError("bad_page", "page must be true or false, and needs a status.")
        if not isinstance(wanted.get("route"), str) or not wanted["route"].startswith(("/", "*")):
            raise ControlError("bad_route", "route must be a pattern like /channels/*/messages.")
        for name, right in _NUMBERS.items():
            number = wanted.get(name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, right) or number < 0):
                raise ControlError(f"bad_{name}", f"{name} must be a number, 0 or more.")
        self.made += 1
        method = str(wanted.get("method", "*")).upper()
        fault = Fault(id=self.made, **{"method": method, **{k: v for k, v in wanted.items() if k != "method"}})
        self.waiting.append(fault)
        return fault

    def take(self, method: str, path: str) -> Fault | None:
        """The oldest fault for this request, counted down. Dots in a path's end count as any other character."""
        for fault in self.waiting:
            if fault.method in ("*", method) and fits(fault.route, path):
                fault.times -= 1
                if fault.times <= 0:
                    self.waiting.remove(fault)
                return fault
        return None


def fits(glob: str, path: str) -> bool:
    """`*` stands for one part of the path, `**` for any rest: /channels/*/messages is not /channels/1/messages/2."""
    if glob == "*" or "**" in glob:
        return fnmatchcase(path, glob.replace("**", "*"))
    parts, wanted = path.strip("/").split("/"), glob.strip("/").split("/")
    return len(parts) == len(wanted) and all(fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=True))
