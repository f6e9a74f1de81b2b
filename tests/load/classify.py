"""D5: the classifier on Banking77's full test, beside TF-IDF with logistic regression, frozen MiniLM with logistic
regression, and the classifier on the causal base.

    python -m tests.load.classify --data D --out tests/load/results/train.json

`D` holds train.csv and test.csv (or .csv.gz), columns text and category. Ours are trained through `bot train`, and answer
the test one message at a time through the engine, as served. All choices are made on a tenth of the training part; the
test part is read once, at the end. The baselines learn from all of the training part once they are chosen.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bot.base import STARTER
from bot.bench.rows import Row
from bot.desk import Desk
from bot.runs.progress import Step
from bot.settings import load
from bot.skeleton import SOURCE
from bot.starter.report import interval
from bot.training.labelled import Labelled, parts_of, read_labelled
from bot.training.scores import judge
from bot.training.train import train
from tests.load.keeping import circumstances, keep

HELD_OUT = 0.1
TARGET = 0.91
RECIPES = {
    "encoder": {"unfreeze": 4, "learning_rate": 2e-4, "epochs": 6, "batch_size": 32, "dropout": 0.1, "patience": 3},
    "base": {
        "backbone": "base", "learning_rate": 2e-3, "epochs": 4, "batch_size": 32, "rank": 16, "alpha": 32, "patience": 3,
        "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    },
}  # fmt: skip


class Teller:
    """Says on stderr how far a run is, once an epoch."""

    def __init__(self) -> None:
        self._held_out: float | None = None

    def step(self, step: Step) -> None:
        if step.held_out != self._held_out:
            self._held_out = step.held_out
            self.note(f"{step.stage} {step.done}/{step.total}: loss {step.loss:.3f}, held out {step.held_out:.4f}")

    def note(self, text: str) -> None:
        print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def row(measure: str, given: list[str], wanted: list[str], target: float | None = None, **more: Any) -> Row:
    found = judge(given, wanted)
    right = round(found.accuracy * len(wanted))
    holds = None if target is None else found.accuracy >= target
    detail = {"macro_f1": round(found.macro_f1, 4), "interval": interval(right, len(wanted)), "n": len(wanted), **more}
    return Row("D5", measure, round(found.accuracy, 4), "share", None if target is None else f"≥ {target:g}", holds, detail)


def table(given: Path, name: str, folder: Path) -> Path:
    """The table called `name`, unpacked into `folder`."""
    source = next(path for path in (given / f"{name}.csv", given / f"{name}.csv.gz") if path.exists())
    folder.mkdir(parents=True, exist_ok=True)
    data = source.read_bytes()
    (folder / f"{name}.csv").write_bytes(gzip.decompress(data) if source.suffix == ".gz" else data)
    return folder


def by_regression(
    features: Callable[[list[str]], Callable[[list[str]], Any]], rows: tuple[Labelled, ...], test: tuple[Labelled, ...]
) -> tuple[list[str], float]:
    """Labels for `test`, and C, chosen on a tenth of `rows`. `features(texts)` learns from texts → texts to features."""
    from sklearn.linear_model import LogisticRegression

    def fitted(part: Iterable[Labelled], strength: float, seen: Any) -> Any:
        return LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(seen, [row.label for row in part])

    parts = parts_of(rows, HELD_OUT)
    to_features = features([row.text for row in parts.training])
    seen, judged = (to_features([row.text for row in part]) for part in (parts.training, parts.held_out))
    wanted = np.array([row.label for row in parts.held_out])
    best, chosen = max((float((fitted(parts.training, c, seen).predict(judged) == wanted).mean()), c) for c in (5, 20, 80))
    Teller().note(f"C {chosen}: {best:.4f} on a tenth of the training part")
    to_features = features([row.text for row in rows])
    model = fitted(rows, chosen, to_features([row.text for row in rows]))
    return [str(label) for label in model.predict(to_features([row.text for row in test]))], chosen


def of_words(texts: list[str]) -> Callable[[list[str]], Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    return make_union(words, characters).fit(texts).transform


def of_minilm(desk: Desk) -> Callable[[list[str]], Callable[[list[str]], Any]]:
    known: dict[str, Any] = {}

    def vectors(texts: list[str]) -> np.ndarray:
        new = sorted(set(texts) - known.keys(), key=len)
        if new:
            known.update(zip(new, asyncio.run(desk.embedder.embed(new)), strict=True))
        return np.stack([known[text] for text in texts])

    return lambda _: vectors


async def answered(desk: Desk, ref: str, test: tuple[Labelled, ...]) -> tuple[list[str], float]:
    """The engine's label for each message, one at a time, and the milliseconds that one takes."""
    adapter = desk.adapters.get(ref)
    await desk.engine.classify(test[0].text, adapter)
    start, given = time.perf_counter(), []
    for message in test:
        shares = await desk.engine.classify(message.text, adapter)
        given.append(max(shares, key=shares.__getitem__))
    return given, round((time.perf_counter() - start) / len(test) * 1000, 2)


def ours(desk: Desk, recipe: Path, kind: str, test: tuple[Labelled, ...], target: float | None) -> Row:
    settings = RECIPES[kind]
    made = train(recipe, desk, [f"{key}={json.dumps(value)}" for key, value in settings.items()], Teller())
    given, milliseconds = asyncio.run(answered(desk, made.adapter.ref, test))
    metrics = made.card.metrics
    told = {key: metrics[key] for key in ("held_out_accuracy", "training_rows", "epochs", "seconds", "temperature")}
    megabytes = round(sum(path.stat().st_size for path in made.adapter.path.iterdir()) / 1e6, 1)
    shutil.rmtree(made.adapter.path)  # the next is not held to it
    name = "our classifier on MiniLM" if kind == "encoder" else "our classifier on the causal starter"
    wanted = [message.label for message in test]
    return row(name, given, wanted, target, recipe=settings, ms_a_message=milliseconds, megabytes=megabytes, **told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    measured = circumstances("python -m tests.load.classify")
    rows: list[Row] = []

    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        shutil.copytree(SOURCE, workspace)
        recipe = workspace / "adapters" / "banking" / "recipe.yaml"
        known = read_labelled(table(options.data, "train", recipe.parent / "transcripts"), "intent").rows
        test = read_labelled(table(options.data, "test", Path(folder) / "test"), "intent").rows
        recipe.write_text(f"method: classifier\nheld_out: {HELD_OUT}\nseed: 1\n")
        desk = Desk(load(workspace=workspace, base=str(STARTER), dtype="float32"))
        wanted = [message.label for message in test]
        for name, features in (("frozen MiniLM", of_minilm(desk)), ("TF-IDF of words and characters", of_words)):
            given, chosen = by_regression(features, known, test)
            rows.append(row(f"{name} and logistic regression", given, wanted, C=chosen, training_rows=len(known)))
            keep(options.out, rows, measured)
        best = max(row.value or 0.0 for row in rows)
        encoder = ours(desk, recipe, "encoder", test, TARGET)
        above = round((encoder.value or 0.0) - best, 4)
        rows += [encoder, Row("D5", f"{encoder.measure} above the better baseline", above, "share", "> 0", above > 0)]
        keep(options.out, rows, measured)
        rows.append(ours(desk, recipe, "base", test, None))
        keep(options.out, rows, measured)
        asyncio.run(desk.close())


if __name__ == "__main__":
    main()
