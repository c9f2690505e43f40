"""Run the tests on every interpreter from 3.11 up: ``make test-all``.

Interpreters are looked for on the PATH and in pyenv, one for each minor version.  Each
gets an environment of its own below ``build/``, which is kept for the next time.
``DONE=3.11 make test-all`` leaves out a version whose tests have been run already.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fatal_signals.processes.interpreters import working  # noqa: E402

FINISH = 3600
"""Seconds after which a whole test run hangs."""


def environment(version: str, file: Path) -> Path:
    """Make the environment of one interpreter; return its folder of programs."""
    folder = ROOT / "build" / "python" / version
    programs, made = folder / "bin", folder / "made"
    wanted = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    if not made.exists() or made.stat().st_mtime < max(
        f.stat().st_mtime for f in wanted
    ):
        subprocess.run([file, "-m", "venv", "--clear", folder], check=True)
        install = ["install", "-qq", "--disable-pip-version-check"]
        more = ["-c", f"{ROOT}/constraints.txt", "-e", f"{ROOT}[docs,test,check]"]
        subprocess.run([programs / "pip", *install, *more], check=True)
        made.touch()
    return programs


def main() -> int:
    """Run the tests everywhere; return the number of interpreters that failed."""
    failed = []
    found = working(apart_from=ROOT)
    found.pop(os.environ.get("DONE", ""), None)
    for version, file in found.items():
        print(f"--- Python {version}: {file}", flush=True)
        programs = environment(version, file)
        options = ["-q", "-m", "", "-n", "auto", *sys.argv[1:]]
        run = subprocess.run(
            [programs / "pytest", *options, "docs/", "tests/"],
            cwd=ROOT,
            timeout=FINISH,
            check=False,
        )
        if run.returncode:
            failed.append(version)
    print("failed on: " + ", ".join(failed) if failed else "passed on all of them")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
