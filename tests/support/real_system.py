"""The real system of the handbook's page, in a folder of a test's own.

The files are the page's own, so what is proved here is proved of what a reader copies.
Nothing here finds a process by its name: pids come from the boss's log.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from . import FATAL, ROOT, companions, procfs
from .pages import files_of
from .program import MODULES, Program

PAGE = ROOT / "docs" / "real_system.rst"

PATH = f"{os.defpath}:/usr/local/bin:/usr/sbin:/sbin"

MISSING = [
    name for name in ("redis-server", "nginx") if not shutil.which(name, path=PATH)
]
"""The programs that this machine lacks."""

NOBODY = 65534
"""A user without rights, as root can become one."""

PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
"""The interpreter without its environment: another user may be able to run it."""

START_ORDER = ["redis", "site", "nginx"]

AS_USER = """
import os, sys
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""


def users() -> list[int]:
    """Return the users that we can run a system as: ourselves, and nobody if may be."""
    if os.getuid():
        return [os.getuid()]
    as_nobody = [PYTHON, "-c", AS_USER, str(NOBODY), PYTHON, "-c", ""]
    reached = subprocess.run(as_nobody, capture_output=True, timeout=FATAL, check=False)
    return [0] if reached.returncode else [0, NOBODY]


class System:
    """A folder with the page's files, and what a client sees of it.

    Args:
        user: whom its programs belong to.
        edits: text of ``system.toml`` that occurs once or more, and what stands there
            instead.
        more: further text of ``system.toml``.
    """

    def __init__(
        self, user: int, edits: Mapping[str, str] | None = None, more: str = ""
    ) -> None:
        self._user = user
        # Short, since the name of a UNIX socket has 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="fatal-signals-"))
        self.run = self.folder / "run"
        for name, text in files_of(PAGE).items():
            (self.folder / name).write_text(text)
        companions.copy("boss", self.folder, MODULES)
        toml = self.folder / "system.toml"
        text = toml.read_text()
        for old, new in (edits or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        toml.write_text(text + more)
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / "python").symlink_to(PYTHON)
        os.chown(self.folder, user, -1)
        with self._program("prepare.py") as program:
            assert program.wait().code == 0, program.report()

    def boss(self, terminal: bool = False) -> Program:
        """Start the boss with its system."""
        return self._program("boss.py", "system.toml", terminal=terminal)

    def _program(self, *words: str, terminal: bool = False) -> Program:
        command = [PYTHON, *words]
        if self._user != os.getuid():
            command = [PYTHON, "-c", AS_USER, str(self._user), *command]
        env = {"PATH": f"{self.folder / 'bin'}:{PATH}"}
        return Program(command, cwd=self.folder, env=env, terminal=terminal)

    def ask_redis(self, command: str) -> str:
        """Return redis's answer to one command; raise OSError when there is none."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(FATAL)
            client.connect(str(self.run / "redis.sock"))
            client.sendall(f"{command}\r\n".encode())
            with client.makefile("rb") as answers:
                line = answers.readline().decode()
                if re.match(r"\$\d", line):  # its length; what was asked for follows
                    line = answers.readline().decode()
        if not line.endswith("\n"):
            raise ConnectionResetError(errno.ECONNRESET, "cut off")
        return line.strip().lstrip(":+")

    def get(self) -> str:
        """Return the page that comes through nginx, or an empty string."""
        connection = HTTPConnection("localhost")
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError, HTTPException):
            client.settimeout(FATAL)
            client.connect(str(self.run / "nginx.sock"))
            connection.sock = client
            connection.request("GET", "/")
            response = connection.getresponse()
            return response.read().decode() if response.status == 200 else ""
        return ""

    def redis_answers(self) -> bool:
        """Return whether redis serves."""
        with suppress(OSError):
            return self.ask_redis("PING") == "PONG"
        return False

    def wait_until_it_serves(self) -> None:
        """Wait until all three programs answer."""
        procfs.until(self.redis_answers, "redis")
        procfs.until(self.get, "the site through nginx")

    def count_until_killed(self, program: Program, counts: int) -> int:
        """Count in redis, kill the boss meanwhile, and return the last answer.

        Its guard kills the others.
        """
        last = 0
        for _ in range(counts):
            last = int(self.ask_redis("INCR word"))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.run / "redis.sock"))
            client.sendall(b"INCR word\r\n")  # under way: nobody reads the answer
            program.send(signal.SIGKILL)
        return last

    def named(self) -> list[str]:
        """Return the sockets and pid files that are there."""
        found = [*self.run.glob("*.sock"), *self.run.glob("*.pid")]
        return sorted(file.name for file in found)

    def port_is_served(self) -> bool:
        """Return whether somebody listens on the site's port."""
        port = int((self.run / "site.args").read_text().split()[-1])
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)


@contextmanager
def system(
    user: int, edits: Mapping[str, str] | None = None, more: str = ""
) -> Iterator[System]:
    """Make a system, and remove its folder in the end."""
    made = System(user, edits, more)
    try:
        yield made
    finally:
        made.remove()


def started(program: Program) -> dict[str, int]:
    """Return the pid of each child that the boss's log so far says has been started."""
    lines = re.findall(r"boss child-started: name=(\S+) pid=(\d+)", program.output)
    return {name: int(pid) for name, pid in lines}


def stops(output: str) -> list[str]:
    """Return what the boss's log says of the stop: who was asked, and who died."""
    log = output.partition("boss stopping")[2]
    found = re.findall(r"^boss child-(asked|died|killed): name=(\S+)", log, re.M)
    return [f"{name} {what}" for what, name in found]
