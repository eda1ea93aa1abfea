"""Keeping what is stored sound: naming damage, and removing what belongs to nothing."""

from annotator.domain.upkeep.scrubbing import Damage, Scrub, parse_position
from annotator.domain.upkeep.sweeping import (
    GRACE,
    Swept,
    note,
    start_daily_sweep,
    sweep,
    sweep_storage,
)

__all__ = [
    "GRACE",
    "Damage",
    "Scrub",
    "Swept",
    "note",
    "parse_position",
    "start_daily_sweep",
    "sweep",
    "sweep_storage",
]
