"""Texts that say nearly the same, found without comparing each with each: MinHash over shingles, then the true share.

Alike is the share of the five-letter pieces that two texts have in common (Jaccard), case, punctuation and spaces not
counted. The same texts give the same answer on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_LETTERS = 5
_PERMUTATIONS = 96
_SEED = 1
_FACTOR = 1_000_003


def normalised(text: str) -> str:
    """Small letters and single spaces, no punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def alike(texts: Sequence[str], threshold: float) -> Iterator[tuple[int, int, float]]:
    """(index, index of an earlier text, share in common) for each text whose share reaches `threshold`, 0 … 1. A text that
    is like an earlier one is not itself looked for by later ones, so that a chain of small changes never becomes one."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=max(0.05, threshold - 0.1), num_perm=_PERMUTATIONS)
    empty = MinHash(num_perm=_PERMUTATIONS, seed=_SEED, hashfunc=int)
    pieces: list[np.ndarray] = []
    for number, text in enumerate(texts):
        pieces.append(_pieces(normalised(text)))
        sketch = empty.copy()
        sketch.update_batch(pieces[number].tolist())
        best = max(((_share(pieces[number], pieces[other]), -other) for other in index.query(sketch)), default=(0.0, 0))
        if best[0] >= threshold:
            yield number, -best[1], best[0]
        else:
            index.insert(number, sketch, check_duplication=False)


def found_in(texts: Sequence[str], known: Sequence[str], threshold: float) -> Iterator[tuple[int, int, float]]:
    """(index in `texts`, index of the `known` text that is most like it, share in common) where that reaches `threshold`."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=max(0.05, threshold - 0.1), num_perm=_PERMUTATIONS)
    empty = MinHash(num_perm=_PERMUTATIONS, seed=_SEED, hashfunc=int)

    def sketch(pieces: np.ndarray) -> MinHash:
        made = empty.copy()
        made.update_batch(pieces.tolist())
        return made

    there = [_pieces(normalised(text)) for text in known]
    for number, pieces in enumerate(there):
        index.insert(number, sketch(pieces), check_duplication=False)
    for number, text in enumerate(texts):
        own = _pieces(normalised(text))
        best = max(((_share(own, there[other]), -other) for other in index.query(sketch(own))), default=(0.0, 0))
        if best[0] >= threshold:
            yield number, -best[1], best[0]


def _pieces(text: str) -> np.ndarray:
    """The text's pieces as sorted distinct numbers, uint32."""
    import numpy as np

    letters = np.frombuffer(text.ljust(_LETTERS).encode("utf-32-le"), np.uint32).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(letters, _LETTERS)
    hashed = np.zeros(len(windows), np.uint64)
    for column in range(_LETTERS):
        hashed = hashed * np.uint64(_FACTOR) + windows[:, column]
    # The upper bits of the product are the well mixed ones.
    return np.unique((hashed * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32))


def _share(one: np.ndarray, other: np.ndarray) -> float:
    import numpy as np

    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)
