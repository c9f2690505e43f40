"""Write ``docs/python.inv``: the objects of Python's documentation that we link to.

Links have to resolve without a network, and Python's own inventory has some 15,000
entries.  This list has ours: add a name, run ``python docs/python_inventory.py``.
"""

import zlib
from pathlib import Path

BASE = Path(__file__).resolve().parents[1] / "python.inv"

OBJECTS = {
    "library/exceptions": {"py:exception": ["BrokenPipeError"]},
    "library/logging": {"py:module": ["logging"]},
    "library/os": {"py:function": ["os.posix_spawn", "os.wait", "os.write"]},
    "library/select": {"py:function": ["select.select"]},
    "library/selectors": {"py:module": ["selectors"]},
    "library/signal": {
        "py:function": ["signal.set_wakeup_fd", "signal.signal", "signal.siginterrupt"]
    },
    "library/subprocess": {"py:class": ["subprocess.Popen"]},
    "library/time": {"py:function": ["time.sleep"]},
}


def inventory() -> bytes:
    """Return the inventory in Sphinx's format, version 2."""
    head = (
        "# Sphinx inventory version 2\n# Project: Python\n# Version: 3\n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    rows = [
        f"{name} {role} 1 {page}.html#{'module-' if role == 'py:module' else ''}$ -\n"
        for page, roles in OBJECTS.items()
        for role, names in roles.items()
        for name in names
    ]
    return head.encode() + zlib.compress("".join(rows).encode(), 9)


if __name__ == "__main__":
    BASE.write_bytes(inventory())
