"""Documents → rows of fixed length, made by worker processes while the model trains.

Contract: the stream is a function of the seed: chunk n holds the same documents whatever the number of workers, and a
run resumes by saying at which chunk. A document goes to the shortest rows that hold it, because attention's cost grows
with the row, and padding shrinks: NOTES.md has the figures.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bot.starter.corpus import World
from bot.starter.tokens import END, WEIGHT_UNIT, Encoded, encode, open_tokenizer
from bot.starter.wordings import FOLDER

DOCUMENTS_PER_CHUNK = 800
LENGTHS = (320, 512, 1024)


@dataclass(frozen=True)
class Source:
    """Where the documents come from."""

    bank: Path
    tokenizer: Path
    data: Path | None
    seed: int
    wordings: Path = FOLDER


@dataclass(frozen=True)
class Rows:
    """Packed rows: ids, document number per position (-1 is padding), weight of predicting the *next* token."""

    ids: npt.NDArray[np.int32]
    documents: npt.NDArray[np.int16]
    weights: npt.NDArray[np.float32]
    looks: npt.NDArray[np.int32]
    """(looks, 5): row, kind, place, first and last + 1 place to look at."""


def shorten(document: Encoded, length: int) -> Encoded:
    """Cut a document that is too long, after the last whole turn."""
    if len(document.ids) <= length:
        return document
    ends = np.where(document.ids[:length] == END)[0]
    cut = int(ends[-1]) + 1 if len(ends) else length
    return Encoded(document.ids[:cut], document.weights[:cut], tuple(look for look in document.looks if look[1] < cut))


def pack(documents: list[Encoded]) -> list[Rows]:
    """Rows of every length that occurs. Documents that teach nothing are left out."""
    cut = [shorten(document, LENGTHS[-1]) for document in documents]
    sorted_out: dict[int, list[Encoded]] = {}
    for document in cut:
        if document.weights.any():
            length = next(length for length in LENGTHS if len(document.ids) <= length)
            sorted_out.setdefault(length, []).append(document)
    return [_best_fit(sorted_out[length], length) for length in sorted(sorted_out)]


def _best_fit(documents: list[Encoded], length: int) -> Rows:
    """Best-fit packing, longest first."""
    useful = sorted(documents, key=lambda document: -len(document.ids))
    rows: list[list[Encoded]] = []
    room: list[int] = []
    for document in useful:
        fitting = [place for place, left in enumerate(room) if left >= len(document.ids)]
        if fitting:
            place = min(fitting, key=lambda row: room[row])
        else:
            place = len(rows)
            rows.append([])
            room.append(length)
        rows[place].append(document)
        room[place] -= len(document.ids)
    return _fill(rows, length)


def _fill(rows: list[list[Encoded]], length: int) -> Rows:
    ids = np.zeros((len(rows), length), dtype=np.int32)
    numbers = np.full((len(rows), length), -1, dtype=np.int16)
    weights = np.zeros((len(rows), length), dtype=np.float32)
    looks = []
    for place, row in enumerate(rows):
        start = 0
        for number, document in enumerate(row):
            end = start + len(document.ids)
            ids[place, start:end], numbers[place, start:end] = document.ids, number
            weights[place, start : end - 1] = document.weights[1:] / WEIGHT_UNIT
            looks += [(place, kind, *(start + where for where in rest)) for kind, *rest in document.looks]
            start = end
    return Rows(ids, numbers, weights, np.array(looks, dtype=np.int32).reshape(-1, 5))


def joined(chunks: Sequence[Rows]) -> Rows:
    """Several chunks of one length as one."""
    before = np.cumsum([0, *(len(chunk.ids) for chunk in chunks)])
    shifted = [chunk.looks + np.array([start, 0, 0, 0, 0]) for chunk, start in zip(chunks, before, strict=False)]
    return Rows(
        np.concatenate([chunk.ids for chunk in chunks]),
        np.concatenate([chunk.documents for chunk in chunks]),
        np.concatenate([chunk.weights for chunk in chunks]),
        np.concatenate(shifted).astype(np.int32),
    )


def some(rows: Rows, places: npt.NDArray[np.int64]) -> Rows:
    """Some of the rows, in the order of `places`."""
    new = np.full(len(rows.ids), -1)
    new[places] = np.arange(len(places))
    looks = rows.looks[new[rows.looks[:, 0]] >= 0].copy()
    looks[:, 0] = new[looks[:, 0]]
    return Rows(rows.ids[places], rows.documents[places], rows.weights[places], looks)


def _work(source: Source, number: int, step: int, first: int, queue: Any) -> None:
    world = World.open(source.bank, source.data, source.wordings)
    tokenizer = open_tokenizer(source.tokenizer)
    chunk = first + number
    while True:
        start = chunk * DOCUMENTS_PER_CHUNK
        documents = [world.document(source.seed, place) for place in range(start, start + DOCUMENTS_PER_CHUNK)]
        queue.put([_mixed(rows, chunk) for rows in pack(encode(documents, tokenizer))])
        chunk += step


def _mixed(rows: Rows, seed: int) -> Rows:
    """The rows in random order."""
    return some(rows, np.random.default_rng(seed).permutation(len(rows.ids)))


class Stream:
    """Chunks, in order, made ahead by worker processes: each a list of packed rows, one entry per length."""

    def __init__(self, source: Source, workers: int, first: int = 0, ahead: int = 2) -> None:
        context = multiprocessing.get_context("spawn")
        self._queues = [context.Queue(maxsize=ahead) for _ in range(workers)]
        self._workers = [
            context.Process(target=_work, args=(source, number, workers, first, queue), daemon=True)
            for number, queue in enumerate(self._queues)
        ]
        for worker in self._workers:
            worker.start()

    def __iter__(self) -> Iterator[list[Rows]]:
        turn = 0
        while True:
            yield self._queues[turn % len(self._queues)].get()
            turn += 1

    def close(self) -> None:
        """Stop the workers."""
        for worker in self._workers:
            worker.terminate()
