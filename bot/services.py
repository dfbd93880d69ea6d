"""What the bot's parts share: one value, put together in bot/main.py. Decides nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bot.catalogue.registry import ModelRegistry
from bot.config.config import Config
from bot.event_bus import EventBus
from core.catalogue import Model
from core.cost import AccountPlan

if TYPE_CHECKING:
    from bot.admission import Admission
    from bot.image_store import ImageStore
    from bot.moderation import Moderation
    from bot.scheduling.scheduler import Scheduler
    from storage.database import Database
    from storage.jobs import Jobs
    from storage.ledger import Ledger
    from storage.outbox import Outbox
    from storage.results import Results
    from storage.settings import Settings

Clock = Callable[[], float]


@dataclass(slots=True, kw_only=True)
class Services:
    """`clock` is seconds since the epoch; `new_id` makes job ids; `new_seed` makes seeds of pictures, 0 … 2**32 - 1.

    `model_registry` knows the models and LoRAs that requests may name.
    """

    config: Config
    clock: Clock
    new_id: Callable[[], str]
    new_seed: Callable[[], int]
    db: "Database"
    jobs: "Jobs"
    outbox: "Outbox"
    ledger: "Ledger"
    results: "Results"
    settings: "Settings"
    bus: EventBus
    images: "ImageStore"
    moderation: "Moderation"
    scheduler: "Scheduler"
    admission: "Admission"
    plan: AccountPlan
    model_registry: ModelRegistry
    owners: set[str] = field(default_factory=set)  # snowflakes; the client adds the application's owners at login

    @property
    def model(self) -> Model:
        """The one that is used where nobody chose."""
        return self.model_registry.model
