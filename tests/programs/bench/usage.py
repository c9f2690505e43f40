"""What processes use, by what the kernel says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def memory(pids: Iterable[int]) -> tuple[int, int]:
    """Return what processes use together, in KiB: as their PSS, and as if alone.

    Their PSS is less where others map the same files, and we are a Python as well.
    Alone is what is theirs, and each file that they map as if nobody else did.
    """
    pss = own = 0
    files: dict[str, int] = {}
    for pid in pids:
        with suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            pss += _kib("Pss", rollup)
            own += _kib("Pss_Anon", rollup)
            for name, kib in _files(Path(f"/proc/{pid}/smaps").read_text()).items():
                files[name] = max(files.get(name, 0), kib)
    return pss, own + sum(files.values())


def _kib(key: str, text: str) -> int:
    found = re.search(rf"^{key}: +(\d+) kB", text, re.MULTILINE)
    assert found, f"no {key} in smaps"
    return int(found[1])


def _files(smaps: str) -> dict[str, int]:
    """Return how much of each file is in memory, what is the process's own apart."""
    found: dict[str, int] = {}
    for mapping in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", smaps)[1:]:
        _, _, _, _, inode, *name = mapping.partition("\n")[0].split(None, 5)
        if inode != "0":
            kib = _kib("Rss", mapping) - _kib("Anonymous", mapping)
            found[name[0]] = found.get(name[0], 0) + kib
    return found


def switches(pids: Iterable[int]) -> int:
    """Return how often the threads of some processes have been switched away from."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            text = (task / "status").read_text()
            total += sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", text)))
    return total
