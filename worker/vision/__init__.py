"""What looks at pictures: describes them, checks them, embeds them, enlarges them. Each file is one of these."""

from worker.vision.companion_paths import NO_COMPANIONS, CompanionPaths
from worker.vision.companions import CompanionKind, Companions, LazyCompanions, OpenCompanion, read_companion_headers
from worker.vision.ip_adapter import IPAdapter, ip_adapter_kwargs
from worker.vision.tiles import Tile, TileBlender, cut_tiles

__all__ = [
    "NO_COMPANIONS",
    "CompanionKind",
    "CompanionPaths",
    "Companions",
    "IPAdapter",
    "LazyCompanions",
    "OpenCompanion",
    "Tile",
    "TileBlender",
    "cut_tiles",
    "ip_adapter_kwargs",
    "read_companion_headers",
]
