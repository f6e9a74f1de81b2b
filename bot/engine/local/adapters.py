"""Adapters in memory: PEFT folders read as tensors in the serving precision, by content hash, least recently used out.

Contract: any thread but the model's may ask an `AdapterMemory`; a file must not hold the model up. What a row in
flight uses lives as long as the row, whatever is dropped here meanwhile.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from bot.engine.local.factors import Factors, mixed
from bot.engine.local.projections import Projections
from bot.errors import AdapterError, EngineError
from bot.types import Adapter, Mix

# The names that PEFT gives its files.
CONFIG, WEIGHTS, HEAD = "adapter_config.json", "adapter_model.safetensors", "base_model.model.score.weight"


@dataclass(frozen=True, eq=False)
class Classifier:
    """A LoRA with a head (labels, width) in float32."""

    factors: Factors
    head: Tensor

    @property
    def bytes(self) -> int:
        return self.factors.bytes + self.head.nbytes


Kept = Factors | Tensor | Classifier
"""A LoRA, a soft prompt's embeddings, or a classifier."""


class AdapterMemory:
    """At most `limit` bytes of adapters are kept; one that is larger is kept alone."""

    def __init__(self, projections: Projections, dtype: torch.dtype, device: torch.device, limit: int = 2**31) -> None:
        self._projections, self._dtype, self._device, self._limit = projections, dtype, str(device), limit
        self._kept: OrderedDict[str, Future[Kept]] = OrderedDict()
        self._bytes: dict[str, int] = {}
        self._mixes: WeakValueDictionary[tuple[tuple[str, float], ...], Factors] = WeakValueDictionary()
        self._lock = threading.Lock()

    def loras(self, mix: Mix) -> Factors | None:
        """The factors of a mix's LoRAs, one and the same for all who ask at the same time; None where it has none. Raises
        EngineError when a folder cannot be read or holds what cannot be mixed."""
        found = [(self._lora(adapter), weight) for adapter, weight in mix.loras]
        key = tuple((adapter.hash, weight) for adapter, weight in mix.loras)
        with self._lock:
            made = self._mixes.get(key) or mixed(found)
            if made:
                self._mixes[key] = made
        return made

    def _lora(self, adapter: Adapter) -> Factors:
        found = self._get(adapter)
        assert isinstance(found, Factors)
        return found

    def soft_prompt(self, adapter: Adapter) -> Tensor:
        """Its virtual tokens' embeddings, (1, tokens, width)."""
        found = self._get(adapter)
        assert isinstance(found, Tensor)
        return found

    def classifier(self, adapter: Adapter) -> Classifier:
        """Its factors and its head. Raises AdapterError for an adapter that is none."""
        if adapter.method != "classifier":
            raise AdapterError(f"{adapter.ref} is a {adapter.method}, which gives no labels.", "Name a classifier.")
        found = self._get(adapter)
        assert isinstance(found, Classifier)
        return found

    def __len__(self) -> int:
        return len(self._kept)

    def _get(self, adapter: Adapter) -> Kept:
        with self._lock:
            first = adapter.hash not in self._kept
            if first:
                self._kept[adapter.hash] = Future()
            self._kept.move_to_end(adapter.hash)
            found = self._kept[adapter.hash]
        if first:
            # Outside the lock: whoever wants another adapter need not wait for this file.
            try:
                read = self._read(adapter)
            except Exception as error:
                # Whatever it is: others may wait for this very adapter.
                with self._lock:
                    self._kept.pop(adapter.hash, None)
                found.set_exception(_does_not_load(adapter, error))
            else:
                found.set_result(read)
                self._make_room(_bytes(read), adapter.hash)
        return found.result()

    def _make_room(self, size: int, newest: str) -> None:
        with self._lock:
            self._bytes[newest] = size
            for name in list(self._kept):
                if sum(self._bytes.values()) <= self._limit:
                    break
                if name != newest and name in self._bytes:
                    del self._kept[name], self._bytes[name]

    def _read(self, adapter: Adapter) -> Kept:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(adapter.path / WEIGHTS, device=self._device)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
        if adapter.method == "soft-prompt":
            virtual: Tensor = tensors["prompt_embeddings"]
            if len(virtual) != adapter.virtual_tokens:
                raise ValueError(f"it has {len(virtual)} virtual tokens, not {adapter.virtual_tokens}")
            return virtual.unsqueeze(0).to(self._dtype)
        config = json.loads((adapter.path / CONFIG).read_text())
        head = tensors.pop(HEAD) if adapter.method == "classifier" else None
        factors = read_factors(config, tensors, self._projections, self._dtype)
        return factors if head is None else Classifier(factors, head.float())


def read_factors(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], projections: Projections, dtype: torch.dtype
) -> Factors:
    """PEFT's config and tensors → factors. Raises ValueError for a tensor that no linear layer of the base takes."""
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        module, _, half = key.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
        if half not in ("lora_A", "lora_B") or module not in projections.places:
            raise ValueError(f"it changes {key}, which is no linear layer of this base")
        halves.setdefault(module, {})[half] = tensor
    layers: dict[int, dict[int, tuple[Tensor, Tensor]]] = {}
    for module, half_of in halves.items():
        group, place = projections.places[module]
        a, b = half_of["lora_A"], half_of["lora_B"]
        wide = torch.promote_types(dtype, torch.float32)
        scaled = b.to(wide) * _scaling(config, module, a.shape[0])
        layers.setdefault(group, {})[place] = (a.to(dtype), scaled.to(dtype).T.contiguous())
    return Factors(
        {group: torch.cat([parts[place][0] for place in sorted(parts)]) for group, parts in layers.items()},
        {(group, place): b for group, parts in layers.items() for place, (_, b) in parts.items()},
        {
            group: tuple(len(parts[place][0]) if place in parts else 0 for place in range(len(widths)))
            for group, parts in layers.items()
            for widths in [projections.groups[group].widths]
        },
    )


def _scaling(config: Mapping[str, Any], module: str, rank: int) -> float:
    from peft.utils.other import get_pattern_key

    alphas = config.get("alpha_pattern") or {}
    alpha = alphas.get(get_pattern_key(list(alphas), module), config["lora_alpha"])
    return float(alpha / rank**0.5 if config.get("use_rslora") else alpha / rank)


def _bytes(kept: Kept) -> int:
    return kept.nbytes if isinstance(kept, Tensor) else kept.bytes


def _does_not_load(adapter: Adapter, error: Exception) -> EngineError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return EngineError(
        f"Adapter {adapter.ref} does not load: {reason}.",
        "Train a plain LoRA on linear layers other than the output; bot adapters verify checks its files.",
    )
