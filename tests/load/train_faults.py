"""D2: runs that are killed, also while a checkpoint is saved, or whose disk fills up. D3: corrupt adapters. D7: personal data."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from bot.bench.rows import Row, at_most
from bot.files import sha256_file
from bot.personal.scrub import scrub
from bot.runs.folder import TRAINING, RunFolder, Runs
from bot.training.checkpoints import SEAL
from tests.conftest import ROOT
from tests.load.train_common import Bench
from tests.training.made_up import SENTENCES, examples

KILLS, SAVING = 20, 8
WEIGHTS = "adapter_model.safetensors"


def _start(recipe: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bot", "train", str(recipe), "--workspace", str(recipe.parents[2]), *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _run(recipe: Path) -> RunFolder | None:
    runs = Runs(recipe.parents[2] / "var", TRAINING).all()
    return runs[0] if runs else None


def _done(recipe: Path) -> int:
    """Steps of training that the newest run has said."""
    folder = _run(recipe)
    steps = [event["done"] for event in folder.events() if event.get("stage") == "training"] if folder else []
    return max(steps, default=0)


def _saving(recipe: Path) -> bool:
    folder = _run(recipe)
    found = folder.checkpoints.glob("checkpoint-*") if folder else ()
    return any(not (path / SEAL).exists() for path in found)


def _recipe(bench: Bench, name: str) -> Path:
    return bench.workspace(
        name, 0, 60, held_out=0.2, epochs=3, evaluations=6, patience=99, batch_size=4, learning_rate=0.002, canaries=0
    )


def resuming(bench: Bench) -> list[Row]:
    whole = _recipe(bench, "whole")
    process = _start(whole)
    assert process.wait() == 0, process.stderr and process.stderr.read().decode()
    wanted = sha256_file(whole.parent / "v1" / WEIGHTS)
    chance = random.Random(1)
    kinds, equal, finished, recipe = Counter[str](), 0, 0, None
    killed = runs = 0
    while killed < KILLS:
        runs += 1
        recipe = _recipe(bench, f"killed-{runs}")
        resume: tuple[str, ...] = ()
        for _ in range(min(5, KILLS - killed)):
            process = _start(recipe, *resume)
            before, more = _done(recipe), chance.randrange(1, 4)
            saving = kinds["while saving"] < SAVING and killed % 2 == 1
            while process.poll() is None:
                if _done(recipe) >= before + more and (not saving or _saving(recipe)):
                    if not saving:
                        time.sleep(chance.random() * 0.2)
                    break
                time.sleep(0.0005 if saving else 0.02)
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            # What it left behind tells what it was at.
            kinds["while saving" if _saving(recipe) else "at a step"] += 1
            killed += 1
            resume = ("--resume",)
        finished += process.poll() == 0 or _start(recipe, "--resume").wait() == 0
        equal += sha256_file(recipe.parent / "v1" / WEIGHTS) == wanted
    detail = {"runs": runs, **kinds}
    rows = [
        at_most("D2", f"runs, of {runs}, that did not end after {killed} SIGKILLs and --resume", runs - finished, 0, "runs"),
        at_most("D2", "of them, with other weights than the uninterrupted run", runs - equal, 0, "runs", **detail),
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
