"""Saving and publishing under faults: kill -9, a full disk, an error at each call of the system or the database, many
writers at once.

`make test` plays a few rounds of each; `make faults` as many as FAULTS says (500 kills, 1,000 rounds of writers).
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.errors import BotError, Conflict, JournalError, NotFound, PromptError
from bot.journal.journal import Journal
from bot.prompts.case_file import add_case
from bot.prompts.cases import Case, read_cases
from bot.prompts.library import PromptLibrary
from bot.prompts.version import PromptVersion
from tests.faults.prompts import NAME, library, prompt, write_without_end

KILLS = int(os.environ.get("FAULTS", "10"))
ROUNDS = 2 * KILLS
A_NAME = 25
"""Kills, or twice as many rounds of writers, after which another prompt is written: a save reads all versions before it."""
CALLS = ("open", "write", "mkdir", "chmod", "link", "replace", "fsync", "close", "unlink")
CODES = (errno.ENOSPC, errno.EIO)


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


def check(prompts: PromptLibrary, journal: Journal, name: str, acknowledged: list[list[str]], since: int = 0) -> int:
    """Every acknowledged version is there as it was, every version after `since` is whole, and the label points at one → the
    latest version."""
    for kind, version, digest in acknowledged:
        assert prompts.get(f"{name}@{version}").prompt.hash == digest, kind
    known = prompts.versions(name) if name in prompts.names() else []
    assert known == list(range(1, len(known) + 1))
    for number in known[since:]:
        prompts.get(f"{name}@{number}")
    published = [int(version) for kind, version, _ in acknowledged if kind == "published"]
    if published:
        assert prompts.get(f"{name}@production").version >= published[-1]
        assert journal.label_moves(name)[0].version == prompts.get(name).version
    elif "production" in journal.labels(name):
        prompts.get(f"{name}@production")
    return len(known)


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(7)
    # Children begin with what this process has read, and write at once; none of its connections is open meanwhile.
    prompts, journal = library(tmp_path)
    acknowledged: dict[str, list[list[str]]] = {}
    seen = 0
    for number in range(KILLS):
        name = f"{NAME}-{number // A_NAME}"
        if name not in acknowledged:
            acknowledged[name], seen = [], 0
        journal.close()
        child, reading = in_child(lambda writing, name=name: write_without_end(prompts, journal, name, writing))  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told = all_of(reading)
        acknowledged[name] += told
        seen = check(prompts, journal, name, told, seen)
    journal.close()
    again, journal = library(tmp_path)
    for name, told in acknowledged.items():
        check(again, journal, name, told)
    journal.close()
    assert sum(map(len, acknowledged.values())) > KILLS / 5


class FailingFile(io.FileIO):
    """A file, as the system's own call writes it."""

    fault: Callable[[], None]

    def write(self, data: Any) -> int:
        self.fault()
        return super().write(data)


@contextlib.contextmanager
def failing(call: str, number: int, code: int) -> Iterator[list[int]]:
    """The `number`-th use of a call of the system raises; gives a counter of its uses."""
    uses = [0]

    def fault() -> None:
        uses[0] += 1
        if uses[0] == number:
            raise OSError(code, os.strerror(code))

    def opened(handle: int, mode: str, encoding: str) -> io.TextIOWrapper:
        file = FailingFile(handle, mode)
        file.fault = fault
        return io.TextIOWrapper(io.BufferedWriter(file), encoding)

    real = getattr(os, call)

    def called(*given: Any, **more: Any) -> Any:
        if call == "close":
            # A file is closed whatever its close says.
            real(*given)
            return fault()
        fault()
        return real(*given, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, *("fdopen", opened) if call == "write" else (call, called))
        yield uses


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("first", [True, False])
def test_an_error_at_each_call_of_a_save_is_told_as_it_is(tmp_path: Path, first: bool, call: str, code: int) -> None:
    """The whole version is there, or nothing is; which of the two is said, and saving again gives it, once."""
    prompts, journal = library(tmp_path)
    if not first:
        prompts.save(NAME, prompt("one"), 0)
    for number in range(1, 20):
        name, latest = (f"new-{number}", 0) if first else (NAME, prompts.versions(NAME)[-1])
        text = prompt(f"{call} {number} {latest} " + "x" * 20_00)
        told = ""
        with failing(call, number, code) as uses:
            try:
                prompts.save(name, text, latest)
            except PromptError as error:
                told = str(error)
        again = PromptLibrary(tmp_path / "prompts", journal)
        there = name in again.names() and again.versions(name)[-1] == latest + 1
        assert there == ("was not saved" not in told), (number, told)
        assert not told or ((f"{name}@{latest + 1} is there" in told) == there and os.strerror(code) in told), told
        assert again.save(name, text, latest).prompt.hash == text.hash
        check(again, journal, name, [["saved", str(latest + 1), text.hash]])
        assert again.versions(name) == list(range(1, latest + 2))
        if uses[0] < number:
            break
    assert uses[0] < number
    left = list((tmp_path / "prompts").rglob(".*"))
    assert len(left) <= (call == "unlink")
    journal.close()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("call", CALLS)
def test_an_error_at_each_call_of_adding_a_case_is_told_as_it_is(tmp_path: Path, call: str, code: int) -> None:
    for number in range(1, 20):
        case = Case.model_validate({"message": f"{call} {number}", "expect": [{"contains": "x"}]})
        before, told = read_cases(tmp_path).cases, ""
        with failing(call, number, code) as uses:
            try:
                add_case(tmp_path, case, "by the test")
            except PromptError as error:
                told = str(error)
        found = read_cases(tmp_path).cases
        assert found in (before, [*before, case])
        assert not told or ("is there" in told) == (case in found) == ("was not saved" not in told), told
        add_case(tmp_path, case, "by the test")
        assert read_cases(tmp_path).cases == [*before, case]
        if uses[0] < number:
            break
    assert uses[0] < number


@pytest.mark.parametrize("reason", ["database or disk is full", "disk I/O error"])
@pytest.mark.parametrize("call", ["do_execute", "do_commit"])
def test_an_error_at_each_call_of_publishing_moves_nothing_and_says_so(tmp_path: Path, call: str, reason: str) -> None:
    prompts, journal = library(tmp_path)
    for number in (1, 2):
        prompts.save(NAME, prompt(str(number)), number - 1)
    dialect, standing = journal._engine.dialect, None
    for number in range(1, 20):
        uses = 0
        real = getattr(dialect, call)

        def fault(*given: Any, number: int = number, real: Any = real) -> Any:
            nonlocal uses
            uses += 1
            if uses == number:
                raise sqlite3.OperationalError(reason)
            return real(*given)

        version = prompts.get(f"{NAME}@{1 if standing == 2 else 2}")
        wish = (NAME, "production", version.version, version.prompt.hash, "writer", standing, "next")
        moves, told = len(journal.label_moves(NAME)), ""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dialect, call, fault)
            try:
                journal.put_label(*wish)
            except JournalError as error:
                told = str(error)
        assert bool(told) == (uses >= number)
        if not told:
            break
        assert f"{NAME}@production was not moved: " in told
        assert reason in told
        assert (journal.labels(NAME).get("production"), len(journal.label_moves(NAME))) == (standing, moves)
        journal.put_label(*wish)
        standing = version.version
        assert prompts.get(f"{NAME}@production").version == standing
        assert len(journal.label_moves(NAME)) == moves + 1
    assert number > 1
    journal.close()


def test_a_disk_that_fills_up_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """The kernel refuses to let any file grow past a limit, from a few bytes to enough for all: save, then publish."""
    prompts, journal = library(tmp_path)
    saved = prompts.save(NAME, prompt("one"), 0)
    journal.put_label(NAME, "production", 1, saved.prompt.hash, "w", None, "first")
    journal.close()  # Children open it anew.
    size = max(path.stat().st_size for path in (tmp_path / "var").iterdir())
    steps = max(8, min(KILLS, 200))
    outcomes, seen = set(), 0
    spread = [int((step + 1) / steps * (size + 70_000)) for step in range(steps)]
    for limit in [1, 100, 4096, 6000, *spread]:

        def write(writing: int, limit: int = limit) -> None:
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
        seen = check(prompts, journal, NAME, [line for line in told if line[0] != "refused"], seen)
        journal.close()
    assert {"not saved", "published"} <= outcomes


def test_of_many_writers_exactly_one_wins_a_number(tmp_path: Path) -> None:
    chance = random.Random(11)
    _, journal = library(tmp_path)
    # Long-lived, as those of servers are: each knows what it has read.
    libraries = [PromptLibrary(tmp_path / "prompts", journal) for _ in range(20)]
    kept: dict[str, list[str]] = {}
    for number in range(ROUNDS):
        name = f"{NAME}-{number // (2 * A_NAME)}"
        hashes = kept.setdefault(name, [])
        writers = chance.sample(libraries, chance.randint(2, 20))
        start = threading.Barrier(len(writers))
        won: list[PromptVersion] = []
        lost: list[BotError] = []

        def write(
            prompts: PromptLibrary, text: str, name: str, latest: int, start: threading.Barrier, won: Any, lost: Any
        ) -> None:
            start.wait()
            try:
                won.append(prompts.save(name, prompt(text), latest))
            except Conflict as error:
                lost.append(error)

        threads = [
            threading.Thread(target=write, args=(prompts, f"round {number} writer {w}", name, len(hashes), start, won, lost))
            for w, prompts in enumerate(writers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1, (number, len(won))
        assert len(lost) == len(writers) - 1
        assert won[0].version == len(hashes) + 1
        hashes.append(won[0].prompt.hash)
    prompts = PromptLibrary(tmp_path / "prompts", journal)
    for name, hashes in kept.items():
        assert [prompts.get(f"{name}@{version}").prompt.hash for version in prompts.versions(name)] == hashes
        assert not list((tmp_path / "prompts" / name).glob(".*"))
        with pytest.raises(NotFound):
            prompts.get(name)
    journal.close()
