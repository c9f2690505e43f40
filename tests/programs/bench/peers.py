"""The bosses: how each is told to run so many children.

A peer writes its configuration into a folder and returns its command.  Everything is as
its documentation has it where a measure does not need another value, and then there is
a comment.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from .environments import ROOT, environment, packaged

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a peer is to run."""

    folder: Path
    size: int
    fifo: Path
    compiled: Path
    """The folder of the C programs."""
    deaf: bool = False
    """The children ignore SIGTERM."""
    grace: int | None = None
    """Seconds; None is the peer's own default."""

    @property
    def child(self) -> list[str]:
        """The command of one child."""
        return [str(self.compiled / "pause"), str(self.fifo), *["deaf"] * self.deaf]

    def write(self, name: str, text: str, mode: int = 0o644) -> str:
        """Write a file below the folder and return its path."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        file.chmod(mode)
        return str(file)


@dataclass(frozen=True)
class Peer:
    """One boss.

    ``command`` takes its plan and its environment's ``bin``.
    """

    name: str
    command: Callable[[Plan, Path], list[str]]
    package: str | None = None
    """What to install from PyPI, if anything, into an environment of its own; where
    there is a program, the system's package that has it."""
    program: str = ""
    """What has to be on the PATH."""
    most: int = 1000
    """With how many children it is tried."""
    stop: signal.Signals = signal.SIGTERM
    """What its documentation stops it with."""
    replaces: bool = True
    """Whether a dead child is to be replaced."""
    grace: bool = True
    """Whether there is one, and a file can set it."""
    rest: float = 0.0
    """Seconds for which a child has to run if its stop is not to be delayed."""

    def prepare(self, tell: Tell) -> tuple[Path, str]:
        """Return its environment's ``bin``, and its version.

        Raises:
            Absent: it is not there and can't be installed.
        """
        if self.program:
            return Path(), packaged(self.program, self.package or self.program)
        if self.package is None:
            return Path(), ""
        found = environment(self.name, *self.package.split(), tell=tell)
        return found, self.package.partition("==")[2]


def c(plan: Plan, _: Path) -> list[str]:
    """Return the command of the measure."""
    return [str(plan.compiled / "boss"), str(plan.size), *plan.child]


def ours(plan: Plan, bin_: Path) -> list[str]:
    """Return our boss's command, with a Python that has nothing installed.

    As its page starts it: a script would keep its syntax tree.
    """
    words = ", ".join(f'"{word}"' for word in plan.child)
    grace = "" if plan.grace is None else f"grace = {plan.grace}\n"
    table = f'[[child]]\nname = "n{{}}"\ncommand = [{words}]\n{grace}'
    file = plan.write("system.toml", "".join(map(table.format, range(plan.size))))
    where = f"PYTHONPATH={ROOT / 'reference'}"
    return ["env", where, str(bin_ / "python"), "-m", "boss", file]


def supervisord(plan: Plan, bin_: Path) -> list[str]:
    """Return the command of supervisord."""
    # The files: it holds four for each child, and refuses to start without.
    grace = "" if plan.grace is None else f"stopwaitsecs={plan.grace}"
    file = plan.write(
        "supervisord.conf",
        f"""\
        [supervisord]
        nodaemon=true
        logfile={plan.folder}/supervisord.log
        pidfile={plan.folder}/supervisord.pid
        childlogdir={plan.folder}
        minfds={max(1024, 5 * plan.size)}

        [program:n]
        command={" ".join(plan.child)}
        numprocs={plan.size}
        process_name=%(program_name)s_%(process_num)d
        autorestart=true
        {grace}
        """,
    )
    return [str(bin_ / "supervisord"), "-c", file]


def circus(plan: Plan, bin_: Path) -> list[str]:
    """Return the command of circus."""
    grace = "" if plan.grace is None else f"graceful_timeout = {plan.grace}"
    file = plan.write(
        "circus.ini",
        f"""\
        [circus]
        endpoint = ipc://{plan.folder}/endpoint
        pubsub_endpoint = ipc://{plan.folder}/pubsub

        [watcher:n]
        cmd = {" ".join(plan.child)}
        numprocesses = {plan.size}
        {grace}
        """,
    )
    return [str(bin_ / "circusd"), file]


def honcho(plan: Plan, bin_: Path) -> list[str]:
    """Return the command of honcho; its lines go through a shell."""
    line = f"exec {' '.join(plan.child)}\n"
    text = "".join(f"n{number}: {line}" for number in range(plan.size))
    return [str(bin_ / "honcho"), "start", "-f", plan.write("Procfile", text)]


SAY = """\
import os, signal, struct, time

def say():
    with open({fifo!r}, "wb", buffering=0) as fifo:
        fifo.write(struct.pack("qq", os.getpid(), time.monotonic_ns()))
"""
"""What our C child says, for workers in Python."""


def gunicorn(plan: Plan, bin_: Path) -> list[str]:
    """Return the command of gunicorn; its children are workers of its own."""
    plan.write("app.py", "def app(environ, start_response):\n    return []\n")
    grace = "" if plan.grace is None else f"graceful_timeout = {plan.grace}\n"
    text = f"bind = 'unix:{plan.folder}/socket'\nworkers = {plan.size}\n{grace}"
    hook = "\ndef post_worker_init(worker):\n"
    if plan.deaf:
        hook += "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    hook += "    say()\n"
    text += SAY.format(fifo=str(plan.fifo)) + hook
    return [str(bin_ / "gunicorn"), "-c", plan.write("conf.py", text), "app:app"]


def cotyledon(plan: Plan, bin_: Path) -> list[str]:
    """Return the command of cotyledon; its children are workers of its own."""
    # There, who is deaf has a terminate that does not return: a thread runs it.
    grace = "" if plan.grace is None else f"graceful_shutdown_timeout={plan.grace}"
    text = f"""\
import threading
import cotyledon

class Worker(cotyledon.Service):
    def run(self):
        say()
        threading.Event().wait()

    def terminate(self):
        if {plan.deaf}:
            threading.Event().wait()

manager = cotyledon.ServiceManager({grace})
manager.add(Worker, workers={plan.size})
manager.run()
"""
    text = SAY.format(fifo=str(plan.fifo)) + text
    return [str(bin_ / "python"), plan.write("main.py", text)]


def services(plan: Plan) -> str:
    """Write a folder of services, as s6 and runit have them, and return it."""
    script = f"#!/bin/sh\nexec {' '.join(plan.child)}\n"
    for number in range(plan.size):
        plan.write(f"services/n{number}/run", script, 0o755)
        if plan.grace is not None:  # s6 alone reads it
            text = f"{plan.grace * 1000}\n"
            plan.write(f"services/n{number}/timeout-kill", text)
    return str(plan.folder / "services")


def s6(plan: Plan, _: Path) -> list[str]:
    """Return the command of s6."""
    # Services: 1000 by default, and it wants some more than there are.
    return ["s6-svscan", "-c", str(max(1000, 2 * plan.size)), services(plan)]


def runit(plan: Plan, _: Path) -> list[str]:
    """Return the command of runit's part that can be run by itself."""
    return ["runsvdir", services(plan)]


def under(*init: str) -> Callable[[Plan, Path], list[str]]:
    """Return the command of an init, whose one program makes the other children."""

    def command(plan: Plan, _: Path) -> list[str]:
        many = [] if plan.deaf or plan.size == 1 else [str(plan.size)]
        return [*init, "--", *plan.child, *many]

    return command


HUP = signal.SIGHUP

PEERS = [
    Peer("C", c, most=5000, grace=False),
    Peer("boss.py", ours, "", most=5000),
    Peer("supervisord", supervisord, "supervisor==4.3.0"),
    Peer("circus", circus, "circus==0.19.0"),
    Peer("honcho", honcho, "honcho==2.0.0", most=100, replaces=False, grace=False),
    Peer("gunicorn", gunicorn, "gunicorn==27.0.1", most=10),
    Peer("cotyledon", cotyledon, "cotyledon==2.2.0", most=10),
    Peer("s6", s6, "s6", "s6-svscan"),
    Peer("runit", runit, "runit", "runsvdir", stop=HUP, grace=False, rest=1.2),
    *(
        Peer(init[0], under(*init), init[0], init[0], replaces=False, grace=False)
        for init in (["tini", "-g"], ["dumb-init"])
    ),
]
"""All of them; the first is the measure."""
