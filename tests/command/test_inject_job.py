"""What the two sides of a run under strace say to each other, and the two functions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_type_hints

import pytest

from fatal_signals.inject import every_point, every_syscall
from fatal_signals.inject.job import Job, Result

JOB = Job(
    argv=("strace", "true"),
    log="log",
    out="out",
    cwd="/",
    env={"PATH": "/bin", "ODD": "\udcff"},
    seconds=10.0,
    rest=0.2,
    patience=2.5,
    settle=1,
    ready="",
    signum=15,
    end=2,
    name="write",
    count=12,
    after=True,
    prepare=(),
    then=("true",),
)
RESULT = Result(status=-15, sent=12.5, output="{}\n", arrivals=1)


@pytest.mark.parametrize("it", [JOB, RESULT, replace(RESULT, sent=None)])
def test_what_is_read_is_what_was_written(it: Job | Result) -> None:
    line = it.to_json()
    assert "\n" not in line
    assert type(it).from_json(line) == it


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (JOB, {"count": "12"}),
        (JOB, {"count": True}),
        (JOB, {"after": 1}),
        (JOB, {"seconds": "10"}),
        (JOB, {"argv": "true"}),
        (JOB, {"argv": [1]}),
        (JOB, {"env": {"PATH": 1}}),
        (JOB, {"env": []}),
        (JOB, {"since": 1.0}),
        (RESULT, {"sent": "now"}),
        (RESULT, {"status": None}),
    ],
)
def test_what_does_not_fit_is_refused(
    kind: Job | Result, changes: dict[str, Any]
) -> None:
    said = json.loads(kind.to_json())
    (name,) = changes
    words = f"{type(kind).__name__}.{name} can't be" if name in said else "other fields"
    with pytest.raises(ValueError, match=words):
        type(kind).from_json(json.dumps(said | changes))
    with pytest.raises(ValueError, match="other fields"):
        type(kind).from_json(json.dumps({}))


def test_options_of_one_name_are_of_one_type() -> None:
    hints, others = get_type_hints(every_point), get_type_hints(every_syscall)
    both = (hints.keys() & others.keys()) - {"return"}
    options = {"signals", "seconds", "setup", "most", "seed", "at", "progress"}
    assert both == {"check", *options}
    assert {it: hints[it] for it in options} == {it: others[it] for it in options}
    assert hints["return"] == others["return"]
