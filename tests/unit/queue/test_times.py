"""When units are due: the same as with a plain list of them, and no step is a long one."""

from __future__ import annotations

import math
import random

import pytest

from mailserver.model.ids import QueueId
from mailserver.queue import times as module
from mailserver.queue.times import Times
from mailserver.queue.unit import Unit


def units(count: int) -> list[Unit]:
    return [Unit(QueueId(f"{number:016d}"), (0,), "a@example.test", 0, math.inf, ours=True) for number in range(count)]


@pytest.mark.parametrize("seed", range(10))
def test_as_a_list_would_have_it(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SWEEP", 5)
    chance, times, now = random.Random(seed), Times(), 0.0
    known: dict[Unit, float] = {}
    every = units(40)
    for _ in range(3000):
        unit = chance.choice(every)
        if chance.random() < 0.9:
            if unit in known:
                times.drop(unit)
                del known[unit]
            if chance.random() < 0.8:
                known[unit] = now + chance.choice([0.0, 1.0, 1.0, 5.0, 100.0])
                times.push(unit, known[unit])
        else:
            now += chance.choice([0.0, 1.0, 3.0])
            due = {one for one, at in known.items() if at <= now}
            found = times.take(now, 10_000)
            assert set(found) == due and len(found) == len(due)
            assert [known[one] for one in found] == sorted(known[one] for one in found)
            for one in found:
                del known[one]
        first = times.first()
        assert not known or (first is not None and first <= min(known.values()))
        assert len(times) < 200


def test_no_step_moves_many() -> None:
    times, every = Times(), units(5000)
    for number, unit in enumerate(every):
        times.push(unit, 1000.0 + number)
    moved = 0
    for unit in every * 3:
        before = len(times._old)
        times.drop(unit)
        times.push(unit, 0.0)
        moved = max(moved, before - len(times._old))
    assert 0 < moved <= 32 and len(times) < 16_000
    found = times.take(0.0, 100)
    assert 0 < len(found) <= 100
    assert sorted(map(id, found + times.take(0.0, 100_000))) == sorted(map(id, every))
    assert times.take(1e9, 100_000) == []
