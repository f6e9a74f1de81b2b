"""Saving and publishing under faults: kill -9, a full disk, an I/O error at each call, many writers at once.

`make test` plays a few rounds of each; `make faults` as many as FAULTS says (500 kills, 1,000 rounds of writers).
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.errors import BotError, Conflict, NotFound
from bot.prompts.library import PromptLibrary
from bot.prompts.version import PromptVersion
from tests.faults.prompts import NAME, library, prompt, write_without_end

KILLS = int(os.environ.get("FAULTS", "10"))
ROUNDS = 2 * KILLS
CALLS = ("fsync", "link", "open", "close", "unlink")


def in_child(work: Callable[[int], None]) -> tuple[int, int]:
    """A forked child that runs `work` with the writing end of a pipe → its process id and the reading end."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with contextlib.suppress(BaseException):
            work(writing)
        os._exit(0)
    os.close(writing)
    return child, reading


def all_of(reading: int) -> list[list[str]]:
    with os.fdopen(reading, "rb") as pipe:
        return [line.split() for line in pipe.read().decode().split("\n") if line.count(" ") == 2]


def check(workspace: Path, acknowledged: list[list[str]]) -> None:
    """Every acknowledged version is there as it was, every version is whole, and the label points at one."""
    prompts, journal = library(workspace)
    try:
        for kind, version, digest in acknowledged:
            assert prompts.get(f"{NAME}@{version}").prompt.hash == digest, kind
        if prompts.names():
            known = prompts.versions(NAME)
            assert known == list(range(1, known[-1] + 1))
            for number in known:
                prompts.get(f"{NAME}@{number}")
        published = [int(version) for kind, version, _ in acknowledged if kind == "published"]
        if published:
            assert prompts.get(f"{NAME}@production").version >= published[-1]
            assert journal.label_moves(NAME)[0].version == prompts.get(NAME).version
        elif "production" in journal.labels(NAME):
            prompts.get(f"{NAME}@production")
    finally:
        journal.close()


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    chance, told = random.Random(7), 0
    library(tmp_path)[1].close()
    acknowledged: list[list[str]] = []
    for _ in range(KILLS):
        child, reading = in_child(lambda writing: write_without_end(tmp_path, writing))
        assert os.read(reading, 6) == b"ready\n"
        time.sleep(chance.uniform(0, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        new = all_of(reading)
        told += len(new)
        # The prompt grows with every round: what older rounds wrote is looked at now and then.
        acknowledged = (acknowledged + new)[-200:]
        check(tmp_path, acknowledged)
    assert told > KILLS / 5
    assert PromptLibrary(tmp_path / "prompts", library(tmp_path)[1]).versions(NAME)


@contextlib.contextmanager
def failing(call: str, number: int, code: int) -> Iterator[list[int]]:
    """The `number`-th use of an os call raises; gives a counter of its uses."""
    uses = [0]
    real = getattr(os, call)

    def fault(*given: Any, **more: Any) -> Any:
        uses[0] += 1
        if uses[0] == number:
            raise OSError(code, os.strerror(code))
        return real(*given, **more)

    patch = pytest.MonkeyPatch()
    patch.setattr(os, call, fault)
    try:
        yield uses
    finally:
        patch.undo()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", CALLS)
def test_an_error_at_each_call_of_a_save_leaves_the_old_or_the_new(tmp_path: Path, call: str, code: int) -> None:
    prompts, journal = library(tmp_path)
    first = prompts.save(NAME, prompt("one"), 0)
    for number in range(1, 20):
        latest = prompts.versions(NAME)[-1]
        text = f"{call} {number} {latest}"
        with failing(call, number, code) as uses, contextlib.suppress(BotError, OSError):
            prompts.save(NAME, prompt(text), latest)
        again = PromptLibrary(tmp_path / "prompts", journal)
        assert again.versions(NAME)[-1] in (latest, latest + 1)
        for version in again.versions(NAME):
            again.get(f"{NAME}@{version}")
        # Saving again gives the version, once: where it was there already, that one.
        saved = again.save(NAME, prompt(text), again.versions(NAME)[-1])
        assert saved.version == latest + 1
        if uses[0] < number:
            break
    assert prompts.get(f"{NAME}@1").prompt.hash == first.prompt.hash
    journal.close()


def test_a_disk_that_fills_up_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """The kernel refuses to let any file grow past a limit, from a few bytes to enough for all: save, then publish."""
    prompts, journal = library(tmp_path)
    saved = prompts.save(NAME, prompt("one"), 0)
    journal.put_label(NAME, "production", 1, saved.prompt.hash, "w", None, "first")
    journal.close()
    size = max(path.stat().st_size for path in (tmp_path / "var").iterdir())
    steps = max(8, min(KILLS, 200))
    outcomes = set()
    spread = [int((step + 1) / steps * (size + 70_000)) for step in range(steps)]
    for limit in [1, 100, 4096, 6000, *spread]:

        def write(writing: int, limit: int = limit) -> None:
            prompts, journal = library(tmp_path)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            known, standing = prompts.versions(NAME)[-1], journal.labels(NAME)["production"]
            made = prompts.save(NAME, prompt(f"{limit} " + "y" * 6000), known)
            os.write(writing, f"saved {made.version} {made.prompt.hash}\n".encode())
            try:
                journal.put_label(NAME, "production", made.version, made.prompt.hash, "w", standing, "next")
            except BotError as error:
                os.write(writing, f"refused {type(error).__name__} x\n".encode())
                return
            os.write(writing, f"published {made.version} {made.prompt.hash}\n".encode())

        child, reading = in_child(write)
        os.waitpid(child, 0)
        told = all_of(reading)
        outcomes.add(told[-1][0] if told else "not saved")
        check(tmp_path, [line for line in told if line[0] != "refused"])
    assert {"not saved", "published"} <= outcomes


def test_of_many_writers_exactly_one_wins_a_number(tmp_path: Path) -> None:
    chance = random.Random(11)
    _, journal = library(tmp_path)
    kept: dict[int, str] = {}
    for number in range(ROUNDS):
        writers = chance.randint(2, 20)
        start = threading.Barrier(writers)
        won: list[PromptVersion] = []
        lost: list[BotError] = []

        def write(writer: int, start: threading.Barrier, number: int, won: Any, lost: Any) -> None:
            prompts = PromptLibrary(tmp_path / "prompts", journal)
            start.wait()
            try:
                won.append(prompts.save(NAME, prompt(f"round {number} writer {writer}"), number))
            except Conflict as error:
                lost.append(error)

        threads = [threading.Thread(target=write, args=(w, start, number, won, lost)) for w in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1, (number, len(won))
        assert len(lost) == writers - 1
        assert won[0].version == number + 1
        kept[number + 1] = won[0].prompt.hash
    prompts = PromptLibrary(tmp_path / "prompts", journal)
    assert {number: prompts.get(f"{NAME}@{number}").prompt.hash for number in prompts.versions(NAME)} == kept
    assert not list((tmp_path / "prompts" / NAME).glob(".*"))
    with pytest.raises(NotFound):
        prompts.get(NAME)
    journal.close()
