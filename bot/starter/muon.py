"""Muon: momentum whose update is made orthogonal, for matrices. AdamW serves the rest (see `train.py`).

Contract: like an optimizer, `step(scale)` uses the gradients present; `state_dict`/`load_state_dict` resume it. The
Newton–Schulz iteration runs matrix by matrix: batched products are slower on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def orthogonalise(update: Tensor, rounds: int = 5) -> Tensor:
    """The nearest (half-)orthogonal matrix, roughly, by Newton–Schulz."""
    x = update.to(torch.bfloat16)
    tall = x.size(0) > x.size(1)
    x = x.mT.contiguous() if tall else x
    x = x / (x.float().norm() + 1e-7).to(x.dtype)
    for _ in range(rounds):
        y = x @ x.mT
        x = torch.addmm(x, torch.addmm(y, y, y, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return (x.mT if tall else x).float()


class Muon:
    """Muon with Nesterov momentum and decoupled weight decay."""

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, momentum: float = 0.95, decay: float = 0.1):
        self.parameters = list(parameters)
        self.rate, self.momentum, self.decay = rate, momentum, decay
        self.velocity = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One update at `scale` times the rate."""
        rate = self.rate * scale
        for parameter, velocity in zip(self.parameters, self.velocity, strict=True):
            if parameter.grad is None:
                continue
            velocity.mul_(self.momentum).add_(parameter.grad)
            update = orthogonalise(parameter.grad.add(velocity, alpha=self.momentum))
            aspect = max(1.0, parameter.size(0) / parameter.size(1)) ** 0.5
            parameter.mul_(1 - rate * self.decay).add_(update, alpha=-rate * aspect)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {"velocity": [velocity.clone() for velocity in self.velocity]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        for mine, saved in zip(self.velocity, state["velocity"], strict=True):
            mine.copy_(saved)
