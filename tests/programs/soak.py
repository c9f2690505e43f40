"""Does a stop get lost in hours, or a descriptor?  ``make soak MINUTES=n``.

``SOAK='--seed N'`` chooses the signals of an earlier soak.

Loops are stopped in storms of signals, and bosses have children that keep on dying;
``support/soaking.py`` says what is done.  A line tells how far it is, and at the end
comes a table; Ctrl-C ends a soak early.  The exit status is 1 when a stop was lost, or
a zombie or an orphan was left, or when a boss's descriptors or its memory grew.

The seed is printed, and chooses the same signals again; not the same moments.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time

from flag_handler import StopFlag
from support.soaking import Soak

TELL = 5.0
"""Seconds between two lines."""


def main() -> int:
    """Be the program; return its exit status."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    if shutil.which("cc") is None:
        sys.exit("soak: no C compiler (cc), and so no children for the boss")
    print(f"soak: {options.minutes:g} minutes, seed {options.seed}", flush=True)
    began = told = time.monotonic()
    with StopFlag() as stop:

        def tell(line: str) -> bool:
            nonlocal told
            if (now := time.monotonic()) - told >= TELL:
                told = now
                print(f"{now - began:6.0f} s: {line}", flush=True)
            return bool(stop)

        findings = Soak(options.seed, 60 * options.minutes).run(tell=tell)
    print(f"\n{time.monotonic() - began:.0f} s\n{findings.table()}")
    return 1 if findings.trouble() else 0


if __name__ == "__main__":
    sys.exit(main())
