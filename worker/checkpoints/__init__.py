"""From a catalogue's entry to a loaded model. Knows nothing of jobs."""

from worker.checkpoints.catalogue_loader import CatalogueLoader
from worker.checkpoints.components import Components, build_family, class_of, prepare_network
from worker.checkpoints.loader import LoadedCheckpoint, load, memory_mb
from worker.checkpoints.locator import ModelsFolder, locate

__all__ = [
    "CatalogueLoader",
    "Components",
    "LoadedCheckpoint",
    "ModelsFolder",
    "build_family",
    "class_of",
    "load",
    "locate",
    "memory_mb",
    "prepare_network",
]
