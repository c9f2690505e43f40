"""Write ``docs/python.inv``: the objects of Python's documentation that we link to.

Links have to resolve without a network, and Python's own inventory has some 15,000
entries.  This list has ours: add a name, run ``python docs/python_inventory.py``.
"""

import zlib
from pathlib import Path

BASE = Path(__file__).with_name("python.inv")

OBJECTS = {
    "library/asyncio-eventloop": {
        "py:method": ["asyncio.loop.add_signal_handler"],
    },
    "library/errno": {"py:data": ["errno.EINTR"]},
    "library/exceptions": {
        "py:exception": [
            "BrokenPipeError",
            "InterruptedError",
            "KeyboardInterrupt",
            "OSError",
            "RecursionError",
            "RuntimeError",
            "SystemExit",
            "ValueError",
        ],
    },
    "library/os": {
        "py:function": [
            "os.fchdir",
            "os.fork",
            "os.kill",
            "os.killpg",
            "os.pipe",
            "os.posix_spawn",
            "os.read",
            "os.register_at_fork",
            "os.setsid",
            "os.wait",
            "os.waitid",
            "os.waitpid",
        ],
        "py:data": ["os.WNOWAIT"],
    },
    "library/pty": {"py:module": ["pty"]},
    "library/queue": {"py:class": ["queue.SimpleQueue"]},
    "library/select": {
        "py:module": ["select"],
        "py:function": ["select.select"],
    },
    "library/selectors": {"py:module": ["selectors"]},
    "library/signal": {
        "py:module": ["signal"],
        "py:data": [
            "signal.SIGCHLD",
            "signal.SIGHUP",
            "signal.SIGINT",
            "signal.SIGKILL",
            "signal.SIGPIPE",
            "signal.SIGTERM",
            "signal.SIG_DFL",
            "signal.SIG_IGN",
        ],
        "py:function": [
            "signal.default_int_handler",
            "signal.getsignal",
            "signal.pause",
            "signal.pthread_sigmask",
            "signal.raise_signal",
            "signal.set_wakeup_fd",
            "signal.siginterrupt",
            "signal.signal",
        ],
    },
    "library/subprocess": {"py:class": ["subprocess.Popen"]},
    "library/threading": {
        "py:class": ["threading.Event", "threading.Thread"],
    },
    "library/time": {"py:function": ["time.sleep"]},
    "library/tomllib": {"py:module": ["tomllib"]},
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
