"""The boss's drawing is the boss's table."""

import re

import boss
import pytest
from extensions import boss_tables


def test_each_change_of_state_is_an_arrow_with_its_events() -> None:
    changes = {
        (state.value, after.value, event.name)
        for state, row in boss.TABLE.items()
        for event, cell in row.items()
        if cell and (after := cell[1]) is not state
    }
    drawn = {
        (*ends, event)
        for ends, events in boss_tables.arrows().items()
        for event in events
    }
    assert drawn == changes
    labels = re.findall(r'class="event"[^>]*>([^<]+)<', boss_tables.diagram())
    assert sorted(labels) == sorted(map(", ".join, boss_tables.arrows().values()))


def test_each_state_is_a_box_within_the_drawing() -> None:
    assert boss_tables.PLACES.keys() == {state.value for state in boss.State}
    for x, y in boss_tables.PLACES.values():
        assert boss_tables.HALF_WIDTH < x < boss_tables.WIDTH - boss_tables.HALF_WIDTH
        assert (
            boss_tables.HALF_HEIGHT < y < boss_tables.HEIGHT - boss_tables.HALF_HEIGHT
        )


def test_a_state_without_a_place_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(boss_tables.PLACES, "killed")
    with pytest.raises(KeyError, match="killed"):
        boss_tables.diagram()


def test_the_drawing_has_its_words_as_alternative_text() -> None:
    label = re.search(r'aria-label="([^"]+)"', boss_tables.diagram())
    assert label
    assert "From running to killed on HURRY." in label[1]
