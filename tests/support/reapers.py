"""Processes to which the orphans below them come: PID 1, and a subreaper."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

SUBREAPER = "import ctypes; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)"
"""Python source that makes its process a subreaper; it stays one through ``exec``."""


def as_pid_1() -> list[str]:
    """Return the words before a command that make it PID 1, or skip the test."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if os.getuid():
        unshare += ["--user", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.call([*unshare, "true"]):
        pytest.skip("no pid namespace: unshare is missing or not allowed here")
    return unshare
