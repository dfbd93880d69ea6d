"""What the bot's parts stand on: settings, clocks, storage, models, pictures. Opened in main.py; decides nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from bot.catalogue import ModelRegistry
from bot.config import Config
from bot.event_bus import EventBus
from bot.image_store import ImageStore
from core.catalogue import Model
from core.cost import AccountPlan
from storage.database import Database
from storage.history import History
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.outbox import Outbox
from storage.reports import Reports
from storage.search import SearchIndex
from storage.settings import Settings

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """`clock` is seconds since the epoch, `monotonic` seconds from anywhere; `new_id` makes job ids; `new_seed` makes
    seeds of pictures, 0 … 2**32 - 1. `plan` is the one that everybody has.
    """

    config: Config
    clock: Clock
    monotonic: Clock
    new_id: Callable[[], str]
    new_seed: Callable[[], int]
    db: Database
    jobs: Jobs
    ledger: Ledger
    outbox: Outbox
    settings: Settings
    history: History
    search: SearchIndex
    reports: Reports
    images: ImageStore
    model_registry: ModelRegistry
    bus: EventBus
    plan: AccountPlan

    @property
    def model(self) -> Model:
        """The one that is used where nobody chose."""
        return self.model_registry.model
