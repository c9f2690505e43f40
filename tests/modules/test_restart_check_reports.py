"""restart_check keeps its promises: the command line, and what it says."""

from __future__ import annotations

import re
import subprocess

import pytest
import restart_check
from support import FATAL
from support.runs import outcome

USAGE = restart_check.HELP.partition("\n")[0]


def test_removes_what_the_run_calls_its_own() -> None:
    body = """
    for name in ("a.pid", "strange \\udcff"):
        open(name, "w").close()
    server = socket.socket(socket.AF_UNIX)
    server.bind("a.sock")
    rc.Run("file", ["a.pid", "strange \\udcff", "a.sock", "never was"])
    say(sorted(os.listdir()))
    """
    assert outcome(body) == ["['file', 'program.py']"]


def test_removes_names_only() -> None:
    body = """
    os.mkdir("folder")
    os.symlink("file", "link")
    os.symlink("folder", "link to a folder")
    rc.Run(None, ["link", "link to a folder"])
    say(sorted(os.listdir()))
    try:
        rc.Run("file", ["folder"])
    except rc.RunError as error:
        say(error)
        failed = error  # and with it all that its traceback knows
    say(sorted(os.listdir()))
    new_run()  # what has failed does not hold the lock
    """
    left = "['file', 'folder', 'program.py']"
    error = "'folder' is a folder; remove it yourself"
    assert outcome(body) == [left, error, left]


def test_removes_or_says_why_it_can_not() -> None:
    body = """
    try:
        rc.Run("file", ["file/below"])
    except rc.RunError as error:
        say(error)
    """
    assert outcome(body) == ["'file/below' can't be removed: Not a directory"]


def test_reports_what_is_left_and_ends_it() -> None:
    body = """
    def report(*words):
        command = [sys.executable, rc.__file__, *words]
        ran = subprocess.run(command, stdout=-1, stderr=subprocess.STDOUT, text=True)
        say(ran.returncode, ran.stdout.strip())

    run = new_run()
    report("file")
    run.close()
    pid = leave(STAYS)
    say(pid)
    report("file")
    report("file", "--end")
    report("file")
    report("no file")
    report("-x", "file")
    """
    running, pid, left, ended, nothing, missing, usage = outcome(body)
    assert re.fullmatch(r"75 file: runs already, pid \d+", running)
    assert left == f"1 {pid} sleep 1000"
    assert ended == f"0 {pid} sleep 1000"
    assert nothing.strip() == "0"
    assert missing == "2 no file: No such file or directory"
    assert usage == "2 usage: python restart_check.py [--end] FILE"


def test_reports_a_limit_that_is_taken() -> None:
    body = """
    import resource
    resource.setrlimit(rc.LOCKS, (5, 5))
    try:
        rc.Run("file")
    except rc.RunError as error:
        say(error)
    """
    said = "the hard limit of file locks is 5, and not unlimited"
    assert outcome(body) == [said]


def test_reports_a_proc_of_another_namespace() -> None:
    body = """
    os.getpid = lambda: 54321
    try:
        rc.Run()
    except rc.RunError as error:
        say(error)
    """
    assert outcome(body) == ["/proc is that of another pid namespace; mount a new one"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--help"], 0, restart_check.HELP),
        ([], 2, USAGE),
        (["file", "file"], 2, USAGE),
        (["--off", "file"], 2, USAGE),
        (["nothing"], 2, "nothing: No such file or directory"),
    ],
    ids=["help", "none", "two", "unknown", "missing"],
)
def test_reports_how_to_use_it(words: list[str], status: int, said: str) -> None:
    told = subprocess.run(
        ["python3", restart_check.__file__, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=FATAL,
        check=False,
    )
    assert (told.returncode, told.stdout) == (status, f"{said}\n")
