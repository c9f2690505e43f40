"""Which versions of Python are installed here?  On the PATH, and by pyenv."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


def find(name: str) -> Path | None:
    """Return an interpreter of one version, such as ``python2.7``, or None."""
    version = name.removeprefix("python")
    places = [Path("/usr/local/bin"), Path("/usr/bin"), *_pyenv(f"{version}.*")]
    return next((p / name for p in places if (p / name).exists()), None)


def working(apart_from: Path, oldest: int = 11) -> dict[str, Path]:
    """Return one interpreter for each minor version of 3 that can make environments.

    Args:
        apart_from: a folder whose interpreters do not count, such as a project's with
            an environment of its own, which is made of one of the others.
        oldest: the minor version that is the first to count.
    """
    found: dict[str, Path] = {}
    folders = [Path(p) for p in os.environ.get("PATH", "").split(":") if p]
    for folder in [*folders, *_pyenv("*")]:
        if apart_from in folder.parents:
            continue
        for file in sorted(folder.glob("python3.*")):
            name = re.fullmatch(r"python3\.(\d+)", file.name)
            if name and int(name[1]) >= oldest and (version := _version_of(file)):
                found.setdefault(version, file)
    return dict(sorted(found.items(), key=lambda item: int(item[0].split(".")[1])))


def _pyenv(versions: str) -> Iterator[Path]:
    yield from sorted(Path.home().glob(f".pyenv/versions/{versions}/bin"))


def _version_of(file: Path) -> str:
    """Return an interpreter's version; nothing when it can't make environments."""
    run = subprocess.run(
        [file, "-c", PROBE], capture_output=True, text=True, check=False
    )
    return run.stdout.strip() if run.returncode == 0 else ""
