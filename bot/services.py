"""What commands, presses and messages work with: the resources and those who decide. Put together in main.py."""

from dataclasses import dataclass, field, fields
from typing import Any, Self

from bot.admission import Admission
from bot.moderation import Moderation
from bot.resources import Resources
from bot.scheduling import Scheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Services(Resources):
    """`owners`: snowflakes; the client adds the application's owners at login."""

    moderation: Moderation
    scheduler: Scheduler
    admission: Admission
    owners: set[str] = field(default_factory=set)

    @classmethod
    def over(cls, resources: Resources, **parts: Any) -> Self:
        """The resources, and those who decide about them."""
        return cls(**{one.name: getattr(resources, one.name) for one in fields(Resources)}, **parts)
