"""D2: runs that are killed, also while a checkpoint is saved, or whose disk fills up. D3: corrupt adapters. D7: personal data."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bot.bench.rows import Row, at_most
from bot.files import sha256_file
from bot.personal.scrub import scrub
from bot.runs.folder import TRAINING, RunFolder, Runs
from bot.training.checkpoints import SEAL
from tests.conftest import ROOT
from tests.load.train_common import Bench
from tests.training.made_up import SENTENCES, examples

RUNS, KILLS = 4, 5
SAVING = 4
"""Every fourth kill waits for a checkpoint that is being saved."""
AFTER = 1.1
"""Steps are drawn up to so many times those of the run: what comes after the last one are the gates."""
WEIGHTS = "adapter_model.safetensors"


def _start(recipe: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bot", "train", str(recipe), "--workspace", str(recipe.parents[2]), *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _run(recipe: Path) -> RunFolder | None:
    runs = Runs(recipe.parents[2] / "var", TRAINING).all()
    return runs[0] if runs else None


def _done(recipe: Path) -> tuple[int, bool]:
    """Steps of training that the newest run has said, and whether it is at its gates."""
    folder = _run(recipe)
    events = list(folder.events()) if folder else []
    steps = [event["done"] for event in events if event.get("stage") == "training"]
    return max(steps, default=0), any(event.get("stage") == "gates" for event in events)


def _unsealed(recipe: Path) -> set[tuple[Path, int]]:
    """Checkpoints that are being saved, or were when their run was killed; one that is saved anew is another."""
    folder, found = _run(recipe), set()
    for path in folder.checkpoints.glob("checkpoint-*") if folder else ():
        with contextlib.suppress(FileNotFoundError):
            if not (path / SEAL).exists():
                found.add((path, path.stat().st_ino))
    return found


def _recipe(bench: Bench, name: str) -> Path:
    return bench.workspace(
        name, 0, 60, held_out=0.2, epochs=3, evaluations=6, patience=99, batch_size=4, learning_rate=0.002, canaries=0
    )


def _kill(recipe: Path, resume: Sequence[str], step: float, last: int, saving: bool) -> tuple[subprocess.Popen[bytes], str]:
    """A run, killed once that step is over, or at the gates where it lies behind the last one; and what it was at, as what it
    left behind tells, "" where it had ended before."""
    left = _unsealed(recipe)
    process = _start(recipe, *resume)
    while process.poll() is None:
        done, judged = _done(recipe)
        if (judged or done >= min(step, last)) and (judged or step <= last) and (not saving or _unsealed(recipe) - left):
            break
        time.sleep(0.0005 if saving else 0.02)
    if process.poll() is not None:
        return process, ""
    process.send_signal(signal.SIGKILL)
    process.wait()
    kind = "while saving" if _unsealed(recipe) - left else "at the gates" if _done(recipe)[1] else "at a step"
    return process, kind


def resuming(bench: Bench) -> list[Row]:
    """Kills spread over the whole course of a run, from its first step to its version."""
    whole = _recipe(bench, "whole")
    process = _start(whole)
    assert process.wait() == 0, process.stderr and process.stderr.read().decode()
    wanted, last = sha256_file(whole.parent / "v1" / WEIGHTS), _done(whole)[0]
    chance = random.Random(1)
    kinds, at, equal, finished = Counter[str](), list[int](), 0, 0
    for run in range(RUNS):
        recipe = _recipe(bench, f"killed-{run}")
        resume: tuple[str, ...] = ()
        for kill in range(KILLS):
            step = (kill + chance.random()) / KILLS * last * AFTER
            saving = (run * KILLS + kill) % SAVING == SAVING - 1 and step < last - 1
            process, kind = _kill(recipe, resume, step, last, saving)
            if not kind:
                break
            kinds[kind] += 1
            at.append(_done(recipe)[0])
            resume = ("--resume",)
        finished += process.poll() == 0 or _start(recipe, "--resume").wait() == 0
        equal += sha256_file(recipe.parent / "v1" / WEIGHTS) == wanted
    killed = sum(kinds.values())
    detail = {"runs": RUNS, "kills": killed, **kinds, "steps": last, "killed_at_step": sorted(at)}
    rows = [
        at_most("D2", f"runs, of {RUNS}, that did not end after {killed} SIGKILLs and --resume", RUNS - finished, 0, "runs"),
        at_most("D2", "of them, with other weights than the uninterrupted run", RUNS - equal, 0, "runs", **detail),
    ]
    return [*rows, *_full_disk(bench, wanted)]


def _full_disk(bench: Bench, wanted: str) -> list[Row]:
    """On a small file system of its own; left out where none can be mounted."""
    recipe = _recipe(bench, "full")
    var = recipe.parents[2] / "var"
    var.mkdir(exist_ok=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(var)], check=False).returncode:
        return [Row("D2", "a disk that is full while saving: nothing could be mounted", None, "runs", "≤ 0", None)]
    try:
        process = _start(recipe)
        _, errors = process.communicate()
        told = re.sub(r"\s+", " ", errors.decode()).strip()[-200:]
        subprocess.run(["mount", "-o", "remount,size=2g", str(var)], check=True)
        resumed = _start(recipe, "--resume").wait() == 0
        same = resumed and sha256_file(recipe.parent / "v1" / WEIGHTS) == wanted
    finally:
        subprocess.run(["umount", str(var)], check=False)
        shutil.rmtree(var, ignore_errors=True)
    wrong = int(not (process.returncode == 1 and same))
    return [at_most("D2", "runs spoilt by a disk that was full while saving", wrong, 0, "runs", told=told)]


def corrupt(_: Bench) -> list[Row]:
    """The tests that hold each kind's refusal, reason, remedy and time."""
    command = [sys.executable, "-m", "pytest", "tests/adapters/test_corrupt.py", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    failed = re.search(r"(\d+) failed", done.stdout)
    count = int(failed[1]) if failed else int(done.returncode != 0)
    measure = (
        "corrupt adapters of 13 kinds not refused with reason and remedy, in 2 s of a process that has its libraries loaded"
    )
    return [at_most("D3", measure, count, 0, "tests")]


def _gone(sentence: str, value: str) -> bool:
    """Whether no piece of the value of three signs or more stays."""
    left = re.sub(r"\[[A-Z]+_[0-9]+\]", "", scrub([sentence], Counter())[0])
    around = sentence.replace(value, "")
    return not any(len(piece) > 2 and piece in left and piece not in around for piece in re.split(r"\W+", value))


def personal_data(_: Bench) -> list[Row]:
    rows = []
    for kind in SENTENCES:
        made = list(examples(kind, 1000, seed=7))
        found = sum(_gone(sentence, value) for sentence, value in made)
        share = found / len(made)
        rows.append(
            Row(
                "D7",
                f"{kind.lower()}: found of 1,000 that the test itself made up",
                round(share, 4),
                "share",
                "≥ 0.99",
                share >= 0.99,
            )
        )
    return rows
