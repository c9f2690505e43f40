"""A systemd of a test's own, which runs the units of the handbook's pages.

It is a user's manager, started by root in a mount and a PID namespace, with a ``/run``
and cgroups of its own; when its namespace ends, everything in it does.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from blocks.skips import OTHER_MACHINE

from fatal_signals.processes.clocks import GLANCE

from .program import Program

HIERARCHIES = [
    path
    for path in map(Path, ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"))
    if (path / "cgroup.procs").exists()
] or [Path("/sys/fs/cgroup")]
"""Where systemd looks for cgroups: version 1 with 2 beside it, or 2 alone."""

MANAGER = "/lib/systemd/systemd"

TARGETS = ("basic", "shutdown")
"""What every unit is ordered after, or before; here they are empty."""

SEEN = f"""
seen() {{
    until eval "$1" > /dev/null 2>&1; do sleep {GLANCE}; done
}}
"""
"""A function for scripts: wait until a command succeeds."""

PIN = """
[Unit]
DefaultDependencies=no
Before={units}
"""
"""A unit that is mentioned stays in memory when it has ended, with its result."""


@functools.cache
def why_not() -> str:
    """Return why this machine can't run one; an empty text where it can."""
    if os.getuid():
        return "only root can have a systemd of its own"
    if not os.access(MANAGER, os.X_OK):
        return "systemd is not installed"
    if os.system("unshare --mount --pid --fork --mount-proc true 2> /dev/null"):
        return "no mount and PID namespaces: unshare is missing or not allowed here"
    try:
        with _cgroups():
            return ""
    except OSError as error:
        return f"{OTHER_MACHINE}no cgroup of our own: {error}"


@contextmanager
def _cgroups() -> Iterator[list[str]]:
    """Make a cgroup in each hierarchy, by one name: systemd takes them for one."""
    name = f"fatal-signals-{uuid.uuid4()}"
    made: list[str] = []
    try:
        for hierarchy in HIERARCHIES:
            (hierarchy / name).mkdir()
            made.append(str(hierarchy / name))
        yield made
    finally:
        for top in made:
            for folder, _, _ in os.walk(top, topdown=False):
                os.rmdir(folder)


def run(files: Mapping[str, str], script: str) -> str:
    """Run a shell script under a systemd of its own, and return what it printed.

    Args:
        files: what is in its folder, by name; those named like units are units.
        script: for ``sh -e``, in that folder; ``systemctl --user`` asks that systemd,
            and ``seen COMMAND`` waits until a command succeeds.
    """
    folder = Path(tempfile.mkdtemp(prefix="fatal-signals-"))
    try:
        units = folder / "units"
        units.mkdir()
        for name, text in files.items():
            is_unit = name.endswith((".service", ".target"))
            (units if is_unit else folder).joinpath(name).write_text(text)
        names = " ".join(file.name for file in units.iterdir())
        (units / "pin.target").write_text(PIN.format(units=names))
        for name in TARGETS:
            (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        with _cgroups() as cgroups:
            return _run(folder, cgroups, script)
    finally:
        shutil.rmtree(folder)


def _run(folder: Path, cgroups: list[str], script: str) -> str:
    inside = str(Path(__file__).with_name("systemd_inside.py"))
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    manager = [*alone, sys.executable, inside, str(folder / "units")]
    command = [*manager, "sh", "-ec", SEEN + script]
    env = {"CGROUPS": ":".join(cgroups), "HOME": str(folder)}
    with Program(command, cwd=folder, env=env) as program:
        ended = program.wait()
        assert ended.code == 0, program.report()
        assert ended.left == [], ended.left
        return program.output
