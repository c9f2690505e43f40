"""What the proofs share: starting programs, asking the kernel, breaking modules.

Helpers live here and assertions live in ``tests/test_*.py``; neither holds the other.
Every wait in here is bounded by ``FATAL``; ``SETTLE`` is spent on absence only.
"""

from pathlib import Path

from blocks.clocks import FATAL, SETTLE

ROOT = Path(__file__).resolve().parents[2]
"""The top of the project."""

HANG = 3.0
"""Seconds after which a block hangs, on pages that are made to hang."""

__all__ = ["FATAL", "HANG", "ROOT", "SETTLE"]
