"""Each mistake in a boss's file is one clear line, and starts nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.bosses import BOSS, boss_of
from support.program import environment

OK = 'name = "ok"\ncommand = ["true"]\n'
GOOD = f"[[child]]\n{OK}"

BROKEN = [
    ("", "there is no [[child]] table"),
    ("# nothing but a comment\n", "there is no [[child]] table"),
    ("child = []", "there is no [[child]] table"),
    ("[child]\nname = 'a'", "there is no [[child]] table"),
    ("child = [1]", "child 1: must be a table, not 1"),
    (f"boss = 1\n{GOOD}", "boss: must be a table, [boss]"),
    (f"[boss]\nspeed = 1\n{GOOD}", "boss: unknown key 'speed'"),
    (
        f"[boss]\nintensity = -1\n{GOOD}",
        "boss: intensity must be a number of restarts, not -1",
    ),
    (
        f"[boss]\nintensity = true\n{GOOD}",
        "boss: intensity must be a number of restarts, not True",
    ),
    (
        f"[boss]\nperiod = 0\n{GOOD}",
        "boss: period must be a number of seconds, 0 to 1000000, not 0",
    ),
    (
        f"[boss]\nremove = [1]\n{GOOD}",
        "boss: remove must be a list of files, not [1]",
    ),
    (
        f"[boss]\nremove = ['']\n{GOOD}",
        "boss: remove must be a list of files, not ['']",
    ),
    ("[[children]]", "unknown key 'children'; did you mean 'child'?"),
    (f"speed = 1\n{GOOD}", "unknown key 'speed'"),
    (
        "[[child]\n",
        "Expected ']]' at the end of an array declaration (at line 1, column 8)",
    ),
    ("[[child]]\nname = ", "Invalid value (at end of document)"),
    ("[[child]]\n", "child 1: key 'name' is missing"),
    ('[[child]]\ncommand = ["true"]', "child 1: key 'name' is missing"),
    ('[[child]]\nname = "a"', "child 1 (a): key 'command' is missing"),
    (
        '[[child]]\nname = "a"\ncommand = "true"',
        "child 1 (a): command must be a list: program, arguments, not 'true'",
    ),
    (
        '[[child]]\nname = "a"\ncommand = []',
        "child 1 (a): command must be a list: program, arguments, not []",
    ),
    (
        '[[child]]\nname = "a"\ncommand = [""]',
        "child 1 (a): command must be a list: program, arguments, not ['']",
    ),
    (
        '[[child]]\nname = "a"\ncommand = ["sleep", 5]',
        "child 1 (a): command must be a list: program, arguments, not ['sleep', 5]",
    ),
    (
        '[[child]]\nname = "a"\ncommand = ["true", "\\u0000"]',
        "child 1 (a): command must be a list: program, arguments, "
        "not ['true', '\\x00']",
    ),
    (
        '[[child]]\nname = "two words"\ncommand = ["true"]',
        "child 1: name must be a word, not 'two words'",
    ),
    (
        '[[child]]\nname = "a\\nb"\ncommand = ["true"]',
        "child 1: name must be a word, not 'a\\nb'",
    ),
    (
        '[[child]]\nname = ""\ncommand = ["true"]',
        "child 1: name must be a word, not ''",
    ),
    ("[[child]]\nname = 7\ncommand = ['true']", "child 1: name must be a word, not 7"),
    (
        f"{GOOD}restarts = 'never'",
        "child 1 (ok): unknown key 'restarts'; did you mean 'restart'?",
    ),
    (f"{GOOD}x = 1", "child 1 (ok): unknown key 'x'"),
    (
        f"{GOOD}restart = 'sometimes'",
        "child 1 (ok): restart must be always or on-failure or never, not 'sometimes'",
    ),
    (
        f"{GOOD}restart = true",
        "child 1 (ok): restart must be always or on-failure or never, not True",
    ),
    *[
        (
            f"{GOOD}grace = {written}",
            "child 1 (ok): grace must be a number of seconds, 0 to 1000000, "
            f"not {read}",
        )
        for written, read in [
            ("-1", "-1"),
            ("true", "True"),
            ("'5'", "'5'"),
            ("nan", "nan"),
            ("inf", "inf"),
            ("1e7", "10000000.0"),
            ("[1]", "[1]"),
        ]
    ],
    *[
        (
            f"{GOOD}stop-signal = {written}",
            f"child 1 (ok): stop-signal must be a signal, such as SIGINT, not {read}",
        )
        for written, read in [
            ("'TERM'", "'TERM'"),
            ("'SIGSTOP'", "'SIGSTOP'"),
            ("15", "15"),
            ("['SIGINT']", "['SIGINT']"),
        ]
    ],
    (
        f"{GOOD}stop_signal = 'SIGINT'",
        "child 1 (ok): unknown key 'stop_signal'; did you mean 'stop-signal'?",
    ),
    *[
        (
            f"{GOOD}ready-fd = {written}",
            f"child 1 (ok): ready-fd must be a number, 3 to 255, not {read}",
        )
        for written, read in [("2", "2"), ("256", "256"), ("true", "True")]
    ],
    (f"{GOOD}cwd = 1", "child 1 (ok): cwd must be the path of a folder, not 1"),
    (
        f"{GOOD}cwd = 'nowhere'",
        "child 1 (ok): cwd: there is no folder 'FOLDER/nowhere', "
        "or we may not enter it",
    ),
    (
        f"{GOOD}cwd = 'boss.toml'",
        "child 1 (ok): cwd: there is no folder 'FOLDER/boss.toml', "
        "or we may not enter it",
    ),
    (
        f"{GOOD}env = ['A=1']",
        "child 1 (ok): env must be a table of strings, not ['A=1']",
    ),
    (
        f"{GOOD}env = {{ A = 1 }}",
        "child 1 (ok): env must be a table of strings, not {'A': 1}",
    ),
    (
        f"{GOOD}env = {{ 'A=B' = '1' }}",
        "child 1 (ok): env must be a table of strings, not {'A=B': '1'}",
    ),
    (
        f"{GOOD}env = {{ '' = '1' }}",
        "child 1 (ok): env must be a table of strings, not {'': '1'}",
    ),
    (
        f"{GOOD}after = 1",
        "child 1 (ok): after must be a name or a list of names, not 1",
    ),
    (
        f"{GOOD}after = [1]",
        "child 1 (ok): after must be a name or a list of names, not [1]",
    ),
    (f"{GOOD}after = 'db'", "child 1 (ok): after: unknown name 'db'"),
    (
        f"{GOOD}[[child]]\nname = 'web'\ncommand = ['true']\nafter = ['okk']",
        "child 2 (web): after: unknown name 'okk'; did you mean 'ok'?",
    ),
    (f"{GOOD}after = 'ok'", "child 1 (ok): after: a ring, ok after ok"),
    (
        f"{GOOD}after = 'b'\n[[child]]\nname = 'b'\ncommand = ['true']\nafter = 'ok'",
        "child 1 (ok): after: a ring, ok after b after ok",
    ),
    (f"{GOOD}{GOOD}", "child 2 (ok): name: child 1 (ok) has it already"),
    (
        '[[child]]\nname = "a"\ncommand = ["no-such-program"]',
        "child 1 (a): command: there is no program 'no-such-program' "
        "on the PATH 'PATH'",
    ),
    (
        '[[child]]\nname = "a"\ncommand = ["true"]\nenv = { PATH = "/nowhere" }',
        "child 1 (a): command: there is no program 'true' on the PATH '/nowhere'",
    ),
    (
        '[[child]]\nname = "a"\ncommand = ["./boss.toml"]\ncwd = "."',
        "child 1 (a): command: there is no program './boss.toml' in 'FOLDER/.'",
    ),
]


@pytest.mark.parametrize(("text", "problem"), BROKEN)
def test_a_mistake_is_one_line(text: str, problem: str, tmp_path: Path) -> None:
    problem = problem.replace("FOLDER", str(tmp_path))
    problem = problem.replace("'PATH'", repr(environment()["PATH"]))
    first = f"[[child]]\nname = 'first'\ncommand = ['touch', '{tmp_path}/started']\n"
    lines = f"{first}{text}" if text.startswith("[[child]]\nname") else text
    for number in (2, 1):
        if lines != text:
            problem = problem.replace(f"child {number}", f"child {number + 1}")
    with boss_of(tmp_path, lines) as program:
        ended = program.wait()

        assert program.output == f"{tmp_path}/boss.toml: {problem}\n"
        assert ended.code == 2
        assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("file", "problem"),
    [("nowhere.toml", "No such file or directory"), (".", "Is a directory")],
)
def test_a_file_that_cannot_be_read_is_one_line(
    file: str, problem: str, tmp_path: Path
) -> None:
    assert answer(tmp_path, file) == (2, f"{file}: {problem}\n")


def test_a_file_that_is_not_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")

    code, said = answer(tmp_path, "binary.toml")

    assert code == 2
    assert said.startswith("binary.toml: 'utf-8' codec can't decode byte 0xff")
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["a.toml", "b.toml"]])
def test_other_than_one_argument_is_answered_with_the_usage(
    arguments: list[str], tmp_path: Path
) -> None:
    usage = "usage: python boss.py FILE.toml (or --help)\n"

    assert answer(tmp_path, *arguments) == (2, usage)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_teaches_every_key(option: str, tmp_path: Path) -> None:
    code, said = answer(tmp_path, option)

    assert code == 0
    for key in ("name", "command", "after", "restart", "grace", "cwd", "env"):
        assert f"    {key} = " in said
    assert all(len(line) <= 88 for line in said.splitlines())


def answer(folder: Path, *arguments: str) -> tuple[int, str]:
    """Return the exit status and all output of a boss that starts nothing."""
    run = subprocess.run(
        [sys.executable, BOSS, *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout


def test_there_are_enough_broken_files() -> None:
    assert len(BROKEN) >= 25
