"""Which models and LoRAs there are: files, folders and hub repositories. Loads no weights; knows nothing of jobs."""

from bot.catalogue import catalogue_files, cli, folder_watcher, locations
from bot.catalogue.locations import Availability
from bot.catalogue.registry import ModelRegistry

__all__ = [
    "Availability",
    "ModelRegistry",
    "catalogue_files",
    "cli",
    "folder_watcher",
    "locations",
]
