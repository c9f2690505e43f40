"""What is measured, made ready: compiled, installed, found; nothing in the project.

The C programs go into a folder that is removed.  The peers from PyPI, and a Python with
nothing installed for our boss, stay in a cache, an environment for each.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


class Absent(Exception):
    """Something is not there; the text says what, and how to get it."""


def compile_all(folder: Path) -> None:
    """Compile the C boss and the child into a folder.

    Raises:
        Absent: there is no compiler, or it fails.
    """
    if shutil.which("cc") is None:
        raise Absent("no C compiler (cc), and so nothing to compare with")
    for name in ("boss", "pause"):
        command = ["cc", "-O2", "-o", str(folder / name), str(HERE / f"{name}.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Absent(f"cc: {done.stderr.strip().partition(chr(10))[0]}")


def cache() -> Path:
    """Return the folder that environments are kept in."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "fatal-signals" / "bench" / platform.python_version()


def environment(name: str, *wanted: str, tell: Callable[[str], None]) -> Path:
    """Return an environment's ``bin``; make it if it is not there.

    Args:
        name: of its folder in the cache.
        wanted: what is installed, such as ``honcho==2.0.0``.
        tell: gets a line when it has to be made.

    Raises:
        Absent: it can't be made.
    """
    folder = cache() / "-".join([name, *wanted]).replace("==", "-")
    if not (folder / "made").exists():
        tell(f"installing {' '.join(wanted) or 'nothing'} into {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        pip = [] if wanted else ["--without-pip"]
        _run([sys.executable, "-m", "venv", *pip, str(folder)])
        if wanted:
            quiet = ["-qq", "--disable-pip-version-check"]
            _run([str(folder / "bin" / "pip"), "install", *quiet, *wanted])
        (folder / "made").touch()
    return folder / "bin"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [it for it in done.stderr.splitlines() if it.startswith("ERROR")]
        raise Absent((errors or done.stderr.splitlines() or ["it failed"])[-1])


def packaged(program: str, package: str) -> str:
    """Return the version of a program of the system.

    Raises:
        Absent: it is not on the PATH.
    """
    if shutil.which(program) is None:
        raise Absent(f"{program} is not on the PATH (Debian: apt install {package})")
    if shutil.which("dpkg-query"):
        command = ["dpkg-query", "-W", "-f", "${Version}", package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.returncode:
            return done.stdout
    return "of unknown version"


def system() -> dict[str, str]:
    """Return what figures depend on: kernel, processors, Python, compiler."""
    release = ".".join(platform.release().split(".")[:2])
    cores = len(os.sched_getaffinity(0))
    cc = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True)
    return {
        "system": f"{platform.system()} {release}, {platform.machine()}",
        "processors": str(cores),
        "python": platform.python_version(),
        "compiler": cc.stdout.splitlines()[0],
    }
