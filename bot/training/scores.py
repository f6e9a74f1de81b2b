"""How well labels are told apart: accuracy, macro-F1, confusions, the temperature that makes shares honest, and two
baselines that a classifier has to stand beside. Numbers only: knows nothing of models or files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_TEMPERATURES = np.geomspace(0.1, 10, 401)


@dataclass(frozen=True, slots=True)
class Confusion:
    """`count` messages labelled `wanted` were given `given`."""

    wanted: str
    given: str
    count: int


@dataclass(frozen=True, slots=True)
class Scores:
    """Shares from 0 to 1; `by_label` are F1 scores, of the labels that the messages have."""

    accuracy: float
    macro_f1: float
    by_label: dict[str, float]
    confusions: tuple[Confusion, ...]
    """Most frequent first."""


def judge(given: Sequence[str], wanted: Sequence[str]) -> Scores:
    """Macro-F1 is over the labels that stand in `wanted`: a label that nobody asked for has no recall."""
    from sklearn.metrics import f1_score

    labels = sorted(set(wanted))
    scores = f1_score(wanted, given, labels=labels, average=None, zero_division=0.0)
    wrong = Counter((right, got) for right, got in zip(wanted, given, strict=True) if right != got)
    return Scores(
        accuracy=sum(right == got for right, got in zip(wanted, given, strict=True)) / len(wanted),
        macro_f1=float(np.mean(scores)),
        by_label={label: float(score) for label, score in zip(labels, scores, strict=True)},
        confusions=tuple(
            Confusion(*pair, count) for pair, count in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
        ),
    )


def losses(logits: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Negative log-likelihood in nats of the label at each place of `wanted`, under logits (rows, labels)."""
    shifted = logits - logits.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return np.asarray(-logs[np.arange(len(wanted)), wanted])


def loss(logits: np.ndarray, wanted: np.ndarray) -> float:
    """Their mean."""
    return float(losses(logits, wanted).mean())


def best_temperature(logits: np.ndarray, wanted: np.ndarray) -> float:
    """What to divide logits by so that a share of 0.8 is right four times in five: the likeliest, from 0.1 to 10."""
    return float(min(_TEMPERATURES, key=lambda temperature: loss(logits / temperature, wanted)))


def majority(training: Sequence[str], wanted: Sequence[str]) -> Scores:
    """Whoever always gives the most frequent label of the training part."""
    (label, _), *_ = Counter(training).most_common(1)
    return judge([label] * len(wanted), wanted)


def word_model() -> Any:
    """TF-IDF over words and pairs of words, and logistic regression, yet to be fitted on texts and labels."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=30, max_iter=2000))


def vector_model() -> Any:
    """Logistic regression on unit vectors, yet to be fitted."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=20, max_iter=2000)


def by_words(training: Sequence[tuple[str, str]], texts: Sequence[str], wanted: Sequence[str]) -> Scores:
    """What `word_model` that learned from (text, label) rows gets right on `texts`."""
    model = word_model().fit([text for text, _ in training], [label for _, label in training])
    return judge([str(label) for label in model.predict(list(texts))], wanted)
