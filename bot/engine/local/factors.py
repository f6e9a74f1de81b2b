"""A mix's low-rank factors as the model multiplies by them.

Contract: `mixed` puts LoRAs of any ranks side by side, their weights multiplied into the B's; the product of the two halves
is the weighted sum of the LoRAs' products but for the rounding of B. A LoRA at weight 1 is its own mix: nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Factors:
    """Grouped as the base's projections are, each LoRA's scaling multiplied into B."""

    a: Mapping[int, Tensor]
    """Group → (ranks, in): the A's of the group's layers one under the other."""
    b: Mapping[tuple[int, int], Tensor]
    """(group, place) → (rank, out)."""
    ranks: Mapping[int, tuple[int, ...]]
    """Group → rank at each place, 0 where nothing is added to that layer."""

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (*self.a.values(), *self.b.values()))

    def own(self, group: int, place: int) -> Tensor:
        """A of one layer, (rank, in)."""
        ranks = self.ranks[group]
        return self.a[group].narrow(0, sum(ranks[:place]), ranks[place])


def mixed(parts: Sequence[tuple[Factors, float]]) -> Factors | None:
    """The factors of a mix; None for no LoRA at all."""
    if len(parts) == 1:
        lora, weight = parts[0]
        if weight == 1:
            return lora
        return Factors(lora.a, {place: _scaled(b, weight) for place, b in lora.b.items()}, lora.ranks)
    ranks: dict[int, tuple[int, ...]] = {}
    for lora, _ in parts:
        for group, own in lora.ranks.items():
            ranks[group] = tuple(map(sum, zip(ranks.get(group, (0,) * len(own)), own, strict=True)))
    a, b = {}, {}
    for group, places in ranks.items():
        under = []
        for place in (number for number, rank in enumerate(places) if rank):
            those = [(lora, weight) for lora, weight in parts if (group, place) in lora.b]
            under += [lora.own(group, place) for lora, _ in those]
            b[group, place] = torch.cat([_scaled(lora.b[group, place], weight) for lora, weight in those])
        a[group] = torch.cat(under)
    return Factors(a, b, ranks) if ranks else None


def _scaled(b: Tensor, weight: float) -> Tensor:
    # In float32 at least: in bfloat16 a weight of 0.7 would first become 0.703.
    return (b.to(torch.promote_types(b.dtype, torch.float32)) * weight).to(b.dtype)
