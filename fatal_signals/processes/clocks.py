"""The two clocks: every wait in the engine and in the tests uses one of these.

``FATAL`` is deliberately far too long: when it runs out, something hangs, and the
test fails.  ``SETTLE`` is short: it is spent only where we wait for something *not*
to happen, so a slow machine can make a check weaker but never wrong.
"""

import os

FATAL = float(os.environ.get("FATAL_SECONDS", "120"))
"""Seconds after which a wait counts as a hang."""

BLOCK = float(os.environ.get("BLOCK_SECONDS", FATAL))
"""Seconds after which one block of a page hangs; the engine's own tests shorten it."""

SETTLE = 0.25
"""Seconds for which absence is waited for, and for which the dying may linger."""

GLANCE = 0.02
"""Seconds between two looks at a state that nobody announces."""
