"""The base's linear layers, those that read the same input made one product (q·k·v, gate·up), with room for adapters.

Contract: `Projections(model)` replaces every plain linear layer that a forward pass reaches, but not the output one. Which
layers share an input is found by running a few tokens, so nothing here knows an architecture's names. `stack` is what the
next forward passes add; only the model's thread sets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from bot.engine.local.stack import Adders


_ROWS = 8
"""Rows that oneDNN is told to expect."""


class Product:
    """x → x·Wᵀ + b for W (outs, in). On a CPU the weights are laid out as oneDNN reads them fastest: a decoding step is
    bound by memory, and its products for eight rows take 0.4 to 0.75 of the time so."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._packed = _packs(weight)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS) if self._packed else weight
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        if self._packed:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
            return y
        return F.linear(x, self._weight, self._bias)


def _packs(weight: Tensor) -> bool:
    """Whether oneDNN is there and knows this precision on this processor: bfloat16 takes AVX-512 or better."""
    if weight.device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    return weight.dtype == torch.float32 or (
        weight.dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


@dataclass
class Group:
    """Linear layers that read the same input: their weights one under the other."""

    number: int
    product: Product
    widths: tuple[int, ...]
    input: Tensor | None = None
    outputs: tuple[Tensor, ...] = ()
    starts: tuple[int, ...] = field(init=False)
    """Where each layer's outputs begin."""

    def __post_init__(self) -> None:
        self.starts = (0, *accumulate(self.widths))[:-1]

    @property
    def size(self) -> int:
        return len(self.widths)


class Part(nn.Module):
    """Stands where a linear layer stood. The first that is asked computes for its whole group."""

    def __init__(self, owner: Projections, group: Group, place: int, old: nn.Linear) -> None:
        super().__init__()
        self._owner, self.group, self._place = owner, group, place
        self.in_features, self.out_features = old.in_features, old.out_features
        self.weight = old.weight.new_empty(0)
        """Nothing but a type and a device, which some models ask for."""

    def forward(self, x: Tensor) -> Tensor:
        group = self.group
        if group.input is not x:
            self._owner.compute(group, x)
        output = group.outputs[self._place]
        if self._place == len(group.widths) - 1:
            group.input, group.outputs = None, ()
        return output


class Head(nn.Module):
    """Stands where the output layer stood."""

    def __init__(self, old: nn.Linear) -> None:
        super().__init__()
        self._product = Product(old.weight.data, None if old.bias is None else old.bias.data)
        self.weight = old.weight

    def forward(self, x: Tensor) -> Tensor:
        return self._product(x)


class Projections:
    """`places` tells for every replaced layer, by its name in the model, its group and its place there."""

    def __init__(self, model: Any) -> None:
        self.stack: Adders | None = None
        self.groups: list[Group] = []
        self.places: dict[str, tuple[int, int]] = {}
        head = model.get_output_embeddings()
        # A subclass may do more than a product (a router, a quantised layer): it stays as it is.
        linears = {n: m for n, m in model.named_modules() if type(m) is nn.Linear and m is not head}
        for names in _siblings(model, linears):
            self._replace(model, names, [linears.pop(name) for name in names])
        if type(head) is nn.Linear:
            model.set_output_embeddings(Head(head))

    def _replace(self, model: Any, names: list[str], linears: list[nn.Linear]) -> None:
        weights = [linear.weight.data for linear in linears]
        weight = torch.cat(weights) if len(weights) > 1 else weights[0]
        bias = None
        if any(linear.bias is not None for linear in linears):
            none = (weight.new_zeros(linear.out_features) for linear in linears)
            bias = torch.cat([zero if m.bias is None else m.bias.data for m, zero in zip(linears, none, strict=True)])
        group = Group(len(self.groups), Product(weight, bias), tuple(linear.out_features for linear in linears))
        self.groups.append(group)
        for place, name in enumerate(names):
            self.places[name] = (group.number, place)
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, Part(self, group, place, linears[place]))

    def clear(self) -> None:
        """Nothing is added, and nothing of the last pass is held."""
        self.stack = None
        for group in self.groups:
            group.input, group.outputs = None, ()

    def product(self, group: Group, x: Tensor) -> Tensor:
        """The outputs of all layers of a group, side by side, for x of shape (…, in), rows first."""
        y = group.product(x)
        if self.stack is not None:
            self.stack.add(group, x, y)
        return y

    def compute(self, group: Group, x: Tensor) -> None:
        """The same, kept for the layers that ask one after the other."""
        group.input, group.outputs = x, torch.split(self.product(group, x), list(group.widths), dim=-1)


def _siblings(model: Any, linears: Mapping[str, nn.Linear]) -> list[list[str]]:
    """Names of the layers that one forward pass hands the very same tensor, one after the other."""
    groups: list[tuple[Tensor, list[str]]] = []
    seen: set[str] = set()

    def watch(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if name in seen:
                return
            seen.add(name)
            if groups and groups[-1][0] is inputs[0]:
                groups[-1][1].append(name)
            else:
                groups.append((inputs[0], [name]))

        return hook

    hooks = [module.register_forward_pre_hook(watch(name)) for name, module in linears.items()]
    with torch.inference_mode():
        model(input_ids=torch.zeros(2, 3, dtype=torch.long, device=model.device), use_cache=False)
    for handle in hooks:
        handle.remove()
    return [names for _, names in groups]
