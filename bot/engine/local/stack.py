"""Low-rank products for a batch in which every row has its own mix of LoRAs.

Contract: a `Stack` holds the LoRAs of a batch side by side. One product with all their A's gives every row the columns
of all of them; a mask keeps a row's own at their weights; one product a layer with the B's adds the result. Other rows'
columns are exactly zero, so any ranks and weights mix exactly. Gathered when the batch's LoRAs change, never per step; a
batch with one LoRA uses its tensors as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bot.engine.local.projections import Group


@dataclass(frozen=True, eq=False)
class Factors:
    """One LoRA's tensors, grouped as the base's projections are, its scaling multiplied into B."""

    a: Mapping[int, Tensor]
    """Group → (in, columns): the A's of the group's layers side by side, turned so that a product reads them in order."""
    b: Mapping[tuple[int, int], Tensor]
    """(group, place) → (rank, out)."""
    ranks: Mapping[int, tuple[int, ...]]
    """Group → rank at each place, 0 where the LoRA leaves that layer alone."""

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (*self.a.values(), *self.b.values()))


class Stack:
    """`weights` is (rows, LoRAs)."""

    def __init__(self, loras: Sequence[Factors], weights: Tensor) -> None:
        self._a: dict[int, Tensor] = {}
        self._b: dict[tuple[int, int], Tensor] = {}
        self._spans: dict[int, tuple[tuple[int, int, int], ...]] = {}
        self._owners: dict[int, tuple[int, ...]] = {}
        for group in sorted({group for lora in loras for group in lora.a}):
            self._gather(group, [(place, lora) for place, lora in enumerate(loras) if group in lora.a])
        self.weigh(weights)

    def _gather(self, group: int, loras: Sequence[tuple[int, Factors]]) -> None:
        """Columns in the order of layers, and of LoRAs within a layer, so that every layer's are one slice."""
        pieces: list[Tensor] = []
        owners: list[int] = []
        spans = []
        for place in range(len(loras[0][1].ranks[group])):
            first, chosen = len(owners), []
            for number, lora in loras:
                ranks = lora.ranks[group]
                if ranks[place]:
                    start = sum(ranks[:place])
                    pieces.append(lora.a[group][:, start : start + ranks[place]])
                    owners += [number] * ranks[place]
                    chosen.append(lora.b[group, place])
            if chosen:
                spans.append((place, first, len(owners)))
                self._b[group, place] = chosen[0] if len(chosen) == 1 else torch.cat(chosen)
        self._a[group] = loras[0][1].a[group] if len(loras) == 1 else torch.cat(pieces, 1)
        self._spans[group], self._owners[group] = tuple(spans), tuple(owners)

    def weigh(self, weights: Tensor) -> None:
        """Other rows, or other weights, over the same LoRAs."""
        self._rows = weights.shape[0]
        self._shared = bool((weights == 1).all())
        self._weighted = not bool(((weights == 0) | (weights == 1)).all())
        columns = {owners: torch.tensor(owners, device=weights.device) for owners in set(self._owners.values())}
        self._weights = {owners: weights[:, places].unsqueeze(1) for owners, places in columns.items()}
        self._others = {owners: mine == 0 for owners, mine in self._weights.items()}

    def add(self, group: Group, x: Tensor, y: Tensor) -> None:
        """y += what the LoRAs make of x; shapes (…, in) and (…, the group's outs), rows first."""
        a = self._a.get(group.number)
        if a is None:
            return
        columns = (x.view(-1, x.shape[-1]) @ a).view(self._rows, -1, a.shape[1])
        owners = self._owners[group.number]
        if self._weighted:
            columns = (columns * self._weights[owners]).to(columns.dtype)
        if not self._shared:
            # Not by weights of 0: what another row's LoRA overflowed to must not become this row's NaN.
            columns.masked_fill_(self._others[owners], 0)
        flat, out, starts = columns.flatten(0, 1), y.view(-1, y.shape[-1]), group.starts
        for place, first, last in self._spans[group.number]:
            layer = out[:, starts[place] : starts[place] + group.widths[place]]
            layer.addmm_(flat[:, first:last], self._b[group.number, place])


LoraMix = Sequence[tuple[str, Factors, float]]
"""One row's LoRAs: content hash, tensors, weight."""


def wanted(mixes: Sequence[LoraMix]) -> tuple[str, ...]:
    """The content hashes of all LoRAs of some rows, in the order in which a stack of them holds them."""
    return tuple(sorted({name for mix in mixes for name, _, _ in mix}))


def weights_of(mixes: Sequence[LoraMix], dtype: torch.dtype) -> Tensor:
    """(rows, LoRAs), never rounded to bfloat16: 0.7 would become 0.703."""
    hashes = wanted(mixes)
    weights = torch.zeros(len(mixes), len(hashes), dtype=torch.promote_types(dtype, torch.float32))
    for number, mix in enumerate(mixes):
        for name, _, weight in mix:
            weights[number, hashes.index(name)] += weight
    return weights


def stack_of(mixes: Sequence[LoraMix], dtype: torch.dtype) -> Stack | None:
    """The stack that these rows need; None where no row has a LoRA."""
    factors = {name: lora for mix in mixes for name, lora, _ in mix}
    return Stack([factors[name] for name in wanted(mixes)], weights_of(mixes, dtype)) if factors else None
