"""A run's events read as they grow: curves, remarks, time left, and what a resumed run takes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot.runs.watching import NOTES, POINTS, Watched, thinned


def say(folder: Path, *events: dict[str, Any]) -> None:
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def training(done: int, held_out: float | None = None, at: float | None = None, total: int = 20) -> dict[str, Any]:
    figures = {"loss": 3 - done / 10, "tokens_per_second": 100.0, **({"held_out": held_out} if held_out else {})}
    return {"at": float(done) if at is None else at, "stage": "training", "done": done, "total": total, **figures}


def test_a_run_that_said_nothing_yet(tmp_path: Path) -> None:
    seen = Watched(tmp_path).look()
    assert (seen.step, seen.trained, seen.seconds_left, seen.best) == (None, None, None, None)
    assert (seen.loss, seen.held_out, seen.notes) == ((), (), ())


def test_what_is_new_is_added(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    say(tmp_path, {"at": 0, "stage": "reading", "done": 5, "total": 9}, training(1), training(2), training(2, 3.5))
    seen = watched.look()
    assert seen.loss == ((1, 2.9), (2, 2.8))
    assert seen.held_out == ((2, 3.5),)
    assert watched.look() is seen, "nothing new, nothing done"
    say(tmp_path, training(3, 3.5), training(4, 3.5), training(4, 3.25))
    seen = watched.look()
    assert seen.held_out == ((2, 3.5), (4, 3.25))
    assert (seen.best, seen.speed[-1], seen.seconds_left) == (3.25, (4, 100.0), 16.0)
    say(tmp_path, {"at": 5, "stage": "gates", "done": 0, "total": 6})
    seen = watched.look()
    assert seen.step
    assert seen.trained
    assert (seen.step.stage, seen.seconds_left, seen.trained.done) == ("gates", None, 4)


def test_a_line_that_is_not_whole_waits_and_a_cut_one_is_passed_over(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    say(tmp_path, training(1))
    events = tmp_path / "events.jsonl"
    whole = json.dumps(training(2)) + "\n"
    with events.open("a") as file:
        file.write(whole[:20])
    assert len(watched.look().loss) == 1
    with events.open("a") as file:
        file.write(whole[20:] + '{"at": 3, "sta' + json.dumps(training(3)) + "\n[]\n7\n" + json.dumps(training(4)) + "\n")
    assert [step for step, _ in watched.look().loss] == [1, 2, 4]


def test_a_run_that_went_on_from_an_earlier_step_takes_the_later_ones_back(tmp_path: Path) -> None:
    say(tmp_path, *(training(n) for n in range(1, 9)), training(8, 3.0))
    say(tmp_path, training(5, at=1000), training(6, at=1002))
    seen = Watched(tmp_path).look()
    assert [step for step, _ in seen.loss] == [1, 2, 3, 4, 5, 6]
    assert seen.held_out == ()
    assert seen.seconds_left == 28, "the pause does not count"


def test_the_last_remarks_are_kept(tmp_path: Path) -> None:
    say(tmp_path, *({"at": 0, "note": f"remark {n}"} for n in range(100)))
    seen = Watched(tmp_path).look()
    assert (len(seen.notes), seen.notes[-1], seen.noted) == (NOTES, "remark 99", 100)


@given(count=st.integers(0, 3 * POINTS))
def test_a_thinned_curve_is_short_and_keeps_its_ends(count: int) -> None:
    curve = {step: step / 2 for step in range(1, count + 1)}
    points = thinned(curve)
    assert len(points) <= POINTS + 1
    assert dict(points).items() <= curve.items()
    assert list(points) == sorted(points)
    assert points[:1] == ((1, 0.5),)[:count]
    assert points[-1:] == ((count, count / 2),)[:count]


def test_thousands_of_steps_are_read_once(tmp_path: Path) -> None:
    say(tmp_path, *(training(n, total=10_000) for n in range(1, 10_001)))
    watched = Watched(tmp_path)
    assert len(watched.look().loss) == POINTS + 1
    (tmp_path / "events.jsonl").write_bytes(b"")
    assert len(watched.look().loss) == POINTS + 1
