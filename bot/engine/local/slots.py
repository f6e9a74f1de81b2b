"""Keys and values of many rows, each from position 0 of its own slot.

Contract: `Slots` holds rows × positions for every layer and is resized when asked; `window` is what a transformers model
takes as its cache for one forward pass: it writes the new positions in place and shows views of what is visible, copying
nothing. What a slot held before is never visible: a row sees the positions it has written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Slots:
    """Tensors (rows, heads, positions, width), two a layer, made when the layer first writes."""

    def __init__(self, rows: int, positions: int) -> None:
        self.rows, self.positions = rows, positions
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (*self.keys.values(), *self.values.values()))

    def room(self, kind: dict[int, Tensor], layer: int, like: Tensor) -> Tensor:
        """A layer's tensor; `like` is (…, heads, …, width)."""
        if layer not in kind:
            kind[layer] = like.new_zeros(self.rows, like.shape[-3], self.positions, like.shape[-1])
        return kind[layer]

    def resize(self, rows: int, positions: int) -> None:
        """So many rows and positions, no more and no fewer; what they hold stays."""
        kept_rows, kept_positions = min(rows, self.rows), min(positions, self.positions)
        resized: list[dict[int, Tensor]] = [{}, {}]
        for kind, new in zip((self.keys, self.values), resized, strict=True):
            for layer, old in kind.items():
                new[layer] = old.new_zeros(rows, old.shape[1], positions, old.shape[3])
                new[layer][:kept_rows, :, :kept_positions] = old[:kept_rows, :, :kept_positions]
        # All at once: where there is no memory for the last layer, the rows must find the first ones as they were.
        self.keys, self.values = resized
        self.rows, self.positions = rows, positions

    def copy(self, row: int, source: Slots, source_row: int, end: int) -> None:
        """The first `end` positions of another's row, or of another row, into this one's."""
        for mine, theirs in ((self.keys, source.keys), (self.values, source.values)):
            for layer, tensor in theirs.items():
                self.room(mine, layer, tensor)[row, :, :end] = tensor[source_row, :, :end]

    def clear(self, row: int) -> None:
        """Zeros in a row that was left: what is masked is still multiplied, and 0 times NaN is NaN."""
        for kind in (self.keys, self.values):
            for tensor in kind.values():
                tensor[row] = 0

    def window(self, starts: Sequence[int], tokens: int, device: torch.device) -> Window:
        """Rows 0 … n, each about to write `tokens` positions from its start, on the model's device."""
        return Window(self, starts, tokens, device)


class Window:
    """One forward pass's view, with what transformers asks of a cache."""

    is_compileable = False

    def __init__(self, slots: Slots, starts: Sequence[int], tokens: int, device: torch.device) -> None:
        self._slots, self._starts, self._tokens, self._device = slots, starts, tokens, device
        self.starts = np.array(starts, np.int64)
        self.end = max(starts) + tokens
        self.position_ids = torch.tensor(starts, device=device)[:, None] + torch.arange(tokens, device=device)
        self._places: dict[int, Tensor] = {}

    def mask(self, dtype: torch.dtype) -> Tensor:
        """(rows, 1, tokens, positions), what is added to a score: 0 where a token sees a position."""
        hidden = torch.arange(self.end, device=self._device) > self.position_ids[:, :, None]
        return torch.zeros(hidden.shape, dtype=dtype, device=self._device).masked_fill_(hidden, -torch.inf)[:, None]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.end - self._tokens

    def held(self, like: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """A layer's keys and values as they lie, of all rows and positions; `like` is (…, heads, …, width)."""
        slots = self._slots
        return slots.room(slots.keys, layer_idx, like), slots.room(slots.values, layer_idx, like)

    def update(self, k: Tensor, v: Tensor, layer_idx: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write (rows, heads, tokens, width); gives all visible positions, (rows, heads, positions, width)."""
        keys, values = self.held(k, layer_idx)
        if len(self._starts) == 1:
            places = slice(self._starts[0], self._starts[0] + self._tokens)
            keys[0, :, places], values[0, :, places] = k[0], v[0]
        else:
            for kept, new in ((keys, k), (values, v)):
                kept.view(-1, new.shape[-1]).index_copy_(0, self._where(new.shape[1]), new.reshape(-1, new.shape[-1]))
        rows = len(self._starts)
        return keys[:rows, :, : self.end], values[:rows, :, : self.end]

    def _where(self, heads: int) -> Tensor:
        """Where (row, head, token) stand in the slots, seen as one list of positions."""
        if heads not in self._places:
            rows = torch.arange(len(self._starts) * heads, device=self._device).view(-1, heads)
            self._places[heads] = (rows[:, :, None] * self._slots.positions + self.position_ids[:, None]).flatten()
        return self._places[heads]
