"""A soak finds nothing in what is sound, and finds what is broken, in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import FATAL, SETTLE, soaking
from support.companions import BESIDE, copy, edit
from support.soaking import LOOPS, ROOM, Findings, Sample, Soak
from support.stops import needs_compiler
from support.twins import twins

SEED = 13
"""Its first storm ends with the stop: a loop that misses it hears no more."""

BRIEF = 2 * SETTLE
"""Seconds of patience with what is broken."""

pytestmark = needs_compiler


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that come so often that a brief soak has some."""
    monkeypatch.setattr(soaking, "LOOK", SETTLE / 5)


def broken(folder: Path, *promises: str) -> Path:
    """Write the modules with the boss's twins that break some promises, in one."""
    for name in BESIDE:
        copy(name, folder)
    for twin in twins("boss"):
        if twin.promise in promises:
            edit("boss", folder, {twin.old: twin.new})
    return folder


def leaking(folder: Path) -> Path:
    """Write a boss that forgets a descriptor with each start."""
    old = "                entry.pid = entry.start()\n"
    edit("boss", broken(folder), {old: f"{old}                os.dup(0)\n"})
    return folder


def test_a_short_soak_of_what_is_sound_finds_nothing() -> None:
    soak = Soak(SEED, FATAL)
    rows = soak.findings.rows
    soak.run(tell=lambda _: bool(rows["short"].rounds and rows["long"].deaths))
    assert soak.findings.trouble() == []
    assert all(row.rounds and row.signals for row in rows.values())
    assert rows["wakeup"].turns
    assert str(rows["long"].deaths) in soak.findings.table()


def test_a_boss_that_reaps_once_is_found(tmp_path: Path, often: None) -> None:
    modules = broken(tmp_path, "reaps_all")
    soak = Soak(SEED, FATAL, modules=modules, patience=BRIEF, linger=SETTLE)
    row = soak.findings.rows["long"]
    soak.run(["long"], tell=lambda _: bool(row.zombies))
    assert row.zombies
    assert row.lost


def test_a_boss_that_leaves_its_childrens_groups_is_found(
    tmp_path: Path, often: None
) -> None:
    # Three bars in a row: the group, the end of a run, the guard.
    modules = broken(tmp_path, "group_goes_too", "hidden", "guarded")
    soak = Soak(SEED, FATAL, modules=modules, linger=SETTLE)
    row = soak.findings.rows["long"]
    soak.run(["long"], tell=lambda _: row.deaths > 0)
    assert row.orphans


def test_a_boss_that_forgets_descriptors_is_found(tmp_path: Path, often: None) -> None:
    soak = Soak(SEED, FATAL, modules=leaking(tmp_path))
    soak.run(["long"], tell=lambda _: bool(soak.findings.trouble()))
    assert any("descriptors grew" in line for line in soak.findings.trouble())


def test_a_loop_that_looks_before_it_drains_is_found(often: None) -> None:
    look = "        if stop:\n            break\n        time.sleep(20 * LITTLE)\n"
    drain = "        stop.drain()\n"
    source = LOOPS["wakeup"].replace(drain, look + drain)
    source = source.replace("while not stop:", "while True:")
    soak = Soak(SEED, FATAL, loops={"wakeup": source}, patience=BRIEF)
    row = soak.findings.rows["wakeup"]
    soak.run(["loops"], tell=lambda _: bool(row.lost))
    assert row.lost


@pytest.mark.parametrize(("more", "grew"), [(ROOM, False), (ROOM + 1, True)])
def test_memory_may_grow_by_its_room(more: int, grew: bool) -> None:
    samples = [Sample(5, 9000, 8000 + more * (n > 5)) for n in range(9)]
    assert bool(Findings({}, samples).trouble()) is grew


def test_a_descriptor_of_a_moment_is_no_leak() -> None:
    samples = [Sample(5 + (n == 7), 9000, 8000) for n in range(9)]
    assert Findings({}, samples).trouble() == []
    assert soaking.middle(samples) == samples[0]
