"""What the units of the handbook's page do, under a systemd of our own.

Each line that matters has a twin: the same unit without it, and the damage.
"""

import re
import signal
from collections.abc import Mapping
from textwrap import dedent

import pytest
from support import ROOT, own_systemd, procfs
from support.pages import files_of
from support.program import MODULES
from support.real_system import PYTHON

pytestmark = pytest.mark.scattered

UNITS = files_of(ROOT / "docs" / "containers" / "systemd.rst")

SHOP = """
[[child]]
name = "store"
command = ["sleep", "1000"]
stop-signal = "SIGINT"

[[child]]
name = "web"
command = ["sh", "-c", "trap '' TERM; sleep 1000"]
after = "store"
grace = 1
"""
"""The web takes its whole grace, for which the store has to be there."""

PATIENT = SHOP.replace("grace = 1", "grace = 1000")

START = """
systemctl --user start shop
seen "grep all-started boss.log"
web=$(sed -n 's/.*child-started: name=web pid=//p' boss.log)
"""

SHOW = "systemctl --user show -p Result -p ExecMainStatus -p NRestarts -p ActiveState"

STOP = f"""
systemctl --user stop shop
cat boss.log
{SHOW} shop
"""

IN_ORDER = [
    "stopping: signal=SIGTERM",
    "child-asked: name=web",
    "child-killed: name=web",
    "child-died: name=web signal=9",
    "child-asked: name=store",
    "child-died: name=store signal=2",
    "ended: failed=0",
]


@pytest.fixture(autouse=True, scope="module")
def systemd() -> None:
    if reason := own_systemd.why_not():
        pytest.skip(reason)


NO_EDITS: Mapping[str, str] = {}


def edited(unit: str, edits: Mapping[str, str]) -> str:
    """Return a unit of the page with edits; each has to find its text once."""
    for old, new in edits.items():
        assert unit.count(old) == 1, old
        unit = unit.replace(old, new)
    return unit


def boss(
    edits: Mapping[str, str] = NO_EDITS, script: str = START + STOP, shop: str = SHOP
) -> str:
    """Run the page's unit of a boss, with edits, and return what the script prints."""
    places = {
        "/usr/bin/python3 /srv/shop/boss.py": f"{PYTHON} {MODULES}/boss.py",
        "/srv/shop/system.toml": "%h/shop.toml",
        "[Install]": "StandardError=append:%h/boss.log\n[Install]",
    }
    unit = edited(edited(UNITS["shop.service"], places), edits)
    return own_systemd.run({"shop.service": unit, "shop.toml": shop}, script)


def stop_of(output: str) -> list[str]:
    """Return the boss's log from its stop on, without pids and graces."""
    log = output.partition("all-started")[2]
    lines = re.findall(r"^boss (.+)", log, re.M)
    return [re.sub(r" (pid|grace)=\S+", "", line) for line in lines]


def facts(output: str) -> dict[str, str]:
    """Return what ``systemctl show`` has said last."""
    return dict(re.findall(r"^(\w+)=(.*)$", output, re.M))


def test_mixed_stops_in_order() -> None:
    output = boss()

    assert stop_of(output) == IN_ORDER
    assert facts(output) == {
        "Result": "success",
        "ExecMainStatus": str(int(signal.SIGTERM)),
        "NRestarts": "0",
        "ActiveState": "inactive",
    }


CUT = """
systemctl --user stop --no-block shop
seen "grep 'child-died: name=store' boss.log"
kill -KILL $web
"""


def test_control_group_takes_the_store_from_under_the_web() -> None:
    edits = {"KillMode=mixed": "KillMode=control-group"}
    said = stop_of(boss(edits, START + CUT + STOP, PATIENT))

    # By SIGTERM, which its file does not want, and while the web has its grace.
    store = said.index("child-died: name=store signal=15")
    assert store < said.index("child-died: name=web signal=9")
    assert "child-asked: name=store" not in said


def test_process_stops_in_order_too() -> None:
    assert stop_of(boss({"KillMode=mixed": "KillMode=process"})) == IN_ORDER


@pytest.mark.parametrize("mode", ["mixed", "process"])
def test_a_timeout_in_the_chain_kills_the_boss_and_leaves_nobody(mode: str) -> None:
    edits = {"TimeoutStopSec=30": "TimeoutStopSec=2", "=mixed": f"={mode}"}
    gone = 'seen "test ! -d /proc/$web"'
    output = boss(edits, f"{START}test -d /proc/$web\n{STOP}{gone}", PATIENT)

    assert stop_of(output) == IN_ORDER[:2]
    assert facts(output)["Result"] == "timeout"
    assert facts(output)["ExecMainStatus"] == str(int(signal.SIGKILL))


LEAVES = """
[Service]
Type=exec
ExecStart=sh -c 'trap "" TERM; sleep 1000 & echo $! > %h/pid; while :; do wait; done'
KillMode=process
TimeoutStopSec=1
"""


def test_process_leaves_the_child_of_a_program_without_a_guard() -> None:
    script = """
    systemctl --user start shop
    seen "test -s pid"
    systemctl --user stop shop
    ps -o args= -p $(cat pid)
    """
    output = own_systemd.run({"shop.service": LEAVES}, dedent(script))

    assert output.splitlines()[-1] == "sleep 1000"


# The second command waits, lest two signals that nobody has looked at count as one.
SECOND = {
    "SIGHUP": "SendSIGHUP=yes",
    "SIGTERM": "ExecStop=/bin/kill $MAINPID\n"
    "ExecStop=sh -c 'until grep stopping: %h/boss.log; do :; done'",
}


@pytest.mark.parametrize("hurry", SECOND)
def test_a_second_signal_hurries(hurry: str) -> None:
    edits = {"KillMode=mixed": f"KillMode=mixed\n{SECOND[hurry]}"}
    said = stop_of(boss(edits, shop=PATIENT))

    assert f"hurrying: signal={hurry}" in said
    assert {"child-killed: name=store", "child-killed: name=web"} < {*said}


def test_reload_by_hangup_is_a_stop() -> None:
    edits = {"KillMode=mixed": "KillMode=mixed\nExecReload=/bin/kill -HUP $MAINPID"}
    script = 'systemctl --user reload shop; seen "grep ended boss.log"; cat boss.log'

    said = stop_of(boss(edits, START + script))
    assert said == ["stopping: signal=SIGHUP", *IN_ORDER[1:]]


AGAIN = """
seen 'test $(grep -c all-started boss.log) -ge 2'
systemctl --user show -p NRestarts shop
"""


def test_a_killed_boss_is_started_again_and_a_stopped_one_is_not() -> None:
    kill = "kill -KILL $(systemctl --user show -P MainPID shop)\n"
    output = boss(script=START + kill + AGAIN + STOP)

    assert facts(output)["NRestarts"] == "1"
    assert facts(output)["Result"] == "success"

    ask = "kill -TERM $(systemctl --user show -P MainPID shop)\n"
    end = f'seen "{SHOW} shop | grep ActiveState=inactive"\n'
    output = boss(script=START + ask + end + STOP)
    assert stop_of(output) == IN_ORDER
    assert facts(output)["NRestarts"] == "0"


CRASH = """
[boss]
intensity = 0

[[child]]
name = "web"
command = ["false"]
"""


def test_a_boss_that_gave_up_is_started_again() -> None:
    output = boss(
        script=f"systemctl --user start shop\n{AGAIN}cat boss.log", shop=CRASH
    )

    assert output.count("too-many-restarts") >= 1


BAD = "[[child]]\nname = 'web'\n"

TRY = f"""
systemctl --user start shop || true
seen "{SHOW} shop | grep ActiveState=failed"
{SHOW} shop
"""


def test_a_mistake_in_the_file_is_tried_once() -> None:
    output = boss(script=TRY, shop=BAD)
    assert facts(output)["ExecMainStatus"] == "2"
    assert facts(output)["NRestarts"] == "0"

    output = boss({"RestartPreventExitStatus=2 75": ""}, TRY, BAD)
    assert facts(output)["ExecMainStatus"] == "2"
    assert int(facts(output)["NRestarts"]) > 1


def test_a_limit_of_file_locks_is_refused() -> None:
    edits = {"KillMode=mixed": "KillMode=mixed\nLimitLOCKS=100"}
    output = boss(edits, TRY + "cat boss.log")

    assert facts(output)["ExecMainStatus"] == "75"
    assert "hard limit of file locks" in output


PROGRAM = """
import signal, sys
if sys.argv[1:]:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(sys.argv[1])))
open("ready", "w").close()
while True:
    signal.pause()
"""

ONE = f"""
systemctl --user start till
seen "test -e ready"
systemctl --user stop till
{SHOW} till
"""


def till(argument: str, line: str, script: str = ONE) -> dict[str, str]:
    """Run the page's unit of a program, and return what ``systemctl`` says of it."""
    edits = {
        "/usr/bin/python3 /srv/till/till.py": f"{PYTHON} program.py {argument}",
        "[Install]": f"WorkingDirectory=%h\n{line}\n[Install]",
    }
    unit = edited(UNITS["till.service"], edits)
    return facts(own_systemd.run({"till.service": unit, "program.py": PROGRAM}, script))


def test_death_by_sigterm_is_clean() -> None:
    ended = till("", "")
    assert (ended["Result"], ended["ExecMainStatus"]) == ("success", "15")

    by_hand = ONE.replace(
        "systemctl --user stop till",
        "kill $(systemctl --user show -P MainPID till)\n"
        'seen "! systemctl --user is-active till"',
    )
    ended = till("", "", by_hand)
    assert (ended["Result"], ended["NRestarts"]) == ("success", "0")
    assert ended["ActiveState"] == "inactive"


def test_exit_with_143_has_failed_unless_the_unit_says_otherwise() -> None:
    assert till("143", "")["Result"] == "exit-code"
    assert till("143", "SuccessExitStatus=143")["Result"] == "success"


def test_a_unit_starts_with_default_signals_but_for_sigpipe() -> None:
    unit = """
    [Service]
    Type=oneshot
    ExecStart=sh -c 'grep -E "Sig(Ign|Blk)" /proc/self/status > %h/signals'
    """
    script = "systemctl --user start clean; cat signals"
    output = own_systemd.run({"clean.service": dedent(unit)}, script)
    blocked, ignored = (int(mask, 16) for mask in output.split()[1::2])
    kept = sum(1 << (signum - 1) for signum in procfs.LIBC_INTERNAL)
    assert (blocked, ignored & ~kept) == (0, 1 << (signal.SIGPIPE - 1))


def test_exec_knows_whether_the_program_was_there() -> None:
    script = "systemctl --user start till || echo Start=failed"
    missing = "/usr/bin/python3 /srv/till/till.py", "/srv/no-such-program"
    unit = edited(UNITS["till.service"], dict([missing]))
    assert "Start=failed" in own_systemd.run({"till.service": unit}, script)

    simple = edited(unit, {"Type=exec": "Type=simple"})
    assert "Start=failed" not in own_systemd.run({"till.service": simple}, script)


SHOPS = files_of(ROOT / "docs" / "containers" / "beyond_the_boss.rst")

MEMBER = """
import os, signal, socket, sys

def say(text):
    with open("log", "a") as log:
        print(name, text, file=log)

_, name, until = sys.argv
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
say("starts")
if address := os.environ.get("NOTIFY_SOCKET"):
    say("is ready")
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", address)
signum = signal.sigwait([signal.SIGTERM, signal.SIGINT])
while until and until not in open("log").read():
    pass
say("stops by " + signum.name)
"""

TOGETHER = """
systemctl --user start shop.target
seen "grep 'web starts' log && grep 'worker starts' log"
systemctl --user stop shop.target
seen "grep 'store stops' log && grep 'worker stops' log"
cat log
"""


def shop(order: bool, worker_waits_for: str) -> list[str]:
    """Run the page's target, with or without its order; return who says what."""
    files = {"member.py": MEMBER, "shop.target": SHOPS["shop.target"]}
    for name in ("store", "worker", "web"):
        until = worker_waits_for if name == "worker" else ""
        command = f"{PYTHON} member.py {name} '{until}'"
        edits = {
            f"/usr/bin/python3 /srv/shop/{name}.py": command,
            "[Service]": "[Service]\nWorkingDirectory=%h",
        }
        if name != "store" and not order:
            edits["After=store.service\n"] = ""
        unit = f"{name}.service"
        files[unit] = edited(SHOPS[unit], edits)
    return own_systemd.run(files, TOGETHER).splitlines()


def test_units_are_stopped_in_the_reverse_of_their_order() -> None:
    said = shop(order=True, worker_waits_for="web stops")

    assert said[:2] == ["store starts", "store is ready"]
    assert said[-3:] == [
        "web stops by SIGINT",
        "worker stops by SIGTERM",  # it waits for the web's line
        "store stops by SIGTERM",
    ]


def test_units_without_an_order_are_stopped_at_once() -> None:
    said = shop(order=False, worker_waits_for="store stops")

    store = said.index("store stops by SIGTERM")
    assert store < said.index("worker stops by SIGTERM")
