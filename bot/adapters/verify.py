"""May this adapter serve on this base? Answered from the files alone, before any model is touched.

PEFT loads an adapter of another base, of fewer or more layers, or full of NaN without a word; each is refused here.
Weights are read as bytes (`tensors.py`): no torch, no pickle.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from bot.adapters.encoder import is_on_encoder, verify_on_encoder
from bot.adapters.folder import check_base, check_files, check_labels
from bot.adapters.tensors import finite_weights, header
from bot.base import Base
from bot.errors import AdapterError, DataError
from bot.files import read_json
from bot.types import Adapter, Method, content_hash

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
HEAD = "base_model.model.score.weight"
METHODS: dict[Any, Method] = {"LORA": "lora", "PROMPT_TUNING": "soft-prompt"}
_NOT_SERVED = {
    "use_dora": "DoRA",
    "modules_to_save": "modules to save",
    "lora_bias": "a LoRA bias",
    "layer_replication": "replicated layers",
    "alora_invocation_tokens": "activation by a phrase",
    "target_parameters": "a LoRA on bare parameters",
    "fan_in_fan_out": "transposed layers",
    "use_bdlora": "block-diagonal factors",
    "use_qalora": "quantised factors",
    "arrow_config": "routing between adapters",
}
_HEADS = (["classifier", "score"], ["score", "classifier"], ["score"])
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Other ways to begin a LoRA change the base's own weights, which every adapter shares."""


def verify(name: str, version: int, folder: Path, base: Base, encoder: Base | None = None) -> Adapter:
    """The adapter in `folder`, or AdapterError with the reason and the remedy. Without an encoder, none that stands on one
    may serve."""
    ref = f"{name}@{version}"
    try:
        if is_on_encoder(folder):
            return verify_on_encoder(name, version, folder, encoder)
        card = check_files(folder, (CONFIG, WEIGHTS))
        if (card.name, card.version) != (name, version):
            raise AdapterError(f"its card says {card.name}@{card.version}.", "A copy is no version: train it here.")
        config = read_json(folder / CONFIG)
        check_base(card, base)
        _check_config(config, card.method)
        weights = finite_weights(folder / WEIGHTS)
        virtual_tokens = 0
        if card.method == "soft-prompt":
            virtual_tokens = _check_soft_prompt(weights, config, base)
        else:
            if card.method == "classifier":
                _check_head(weights.pop(HEAD, []), card.labels, base)
            _check_lora(weights, config, base)
        if card.labels and card.method != "classifier":
            raise AdapterError(f"its card names labels, which a {card.method} does not tell apart.", "Train it again.")
    except (AdapterError, DataError) as error:
        raise AdapterError(f"Adapter {ref} is refused: {error.what}", error.hint) from None
    content = content_hash(*sorted(card.files.values()), *(("labels", *card.labels) if card.labels else ()))
    return Adapter(name, version, folder, content, card.method, virtual_tokens, card.labels)


def _check_config(config: dict[str, Any], method: Method) -> None:
    kind, task = str(config.get("peft_type")), config.get("task_type")
    if kind not in METHODS:
        raise AdapterError(
            f"its method {kind!r} cannot serve replies; {' and '.join(METHODS)} can.", "Train a LoRA or a soft prompt."
        )
    says = "classifier" if (kind, task) == ("LORA", "SEQ_CLS") else METHODS[kind]
    if says != method:
        raise AdapterError(f"its card says {method}, but {CONFIG} says {says}.", "Train it again.")
    for key, words in _NOT_SERVED.items():
        # A classifier's head is the one module that is saved whole; PEFT names it by all the names that heads have.
        head = key == "modules_to_save" and method == "classifier" and config.get(key) in _HEADS
        if config.get(key) and not head:
            raise AdapterError(f"it uses {words}, which cannot be mixed per request.", f"Train it without {key}.")
    for value in (config.get("lora_alpha", 1), *_values(config.get("alpha_pattern"))):
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise AdapterError(f"its lora_alpha is {value!r}, no number.", f"Restore {CONFIG} from its source.")
    if config.get("bias", "none") != "none":
        raise AdapterError("it trains biases, which cannot be mixed per request.", "Train it with bias: none.")
    if (start := config.get("init_lora_weights", True)) not in _PLAIN_STARTS:
        raise AdapterError(f"it begins as {start}, which changes the base that others share.", "Train a plain LoRA.")


def _values(pattern: Any) -> list[Any]:
    return list(pattern.values()) if isinstance(pattern, dict) else []


def _check_soft_prompt(weights: dict[str, list[int]], config: dict[str, Any], base: Base) -> int:
    """→ its virtual tokens."""
    count, width = config.get("num_virtual_tokens"), base.config.get("hidden_size", config.get("token_dim"))
    if not isinstance(count, int) or weights != {"prompt_embeddings": [count, width]}:
        raise AdapterError(
            f"it holds {weights}, not prompt_embeddings of {count} virtual tokens × {width}.", "Train it on this base."
        )
    return count


def _check_head(shape: list[int], labels: tuple[str, ...], base: Base) -> None:
    width = base.config.get("word_embed_proj_dim") or base.config.get("hidden_size")
    check_labels(labels)
    if shape != [len(labels), width]:
        raise AdapterError(f"its head has shape {shape}, not {len(labels)} labels × {width}.", "Train it on this base.")


def _check_lora(weights: dict[str, list[int]], config: dict[str, Any], base: Base) -> None:
    shapes = _linear_shapes(base)
    pairs: dict[str, dict[str, list[int]]] = {}
    for key, shape in weights.items():
        module, _, side = key.removeprefix("base_model.model.").rpartition(".lora_")
        if side not in ("A.weight", "B.weight"):
            raise AdapterError(f"{key} is no LoRA weight.", "Train a plain LoRA.")
        pairs.setdefault(module, {})[side[0]] = shape
    ranks = {**dict.fromkeys(pairs, config.get("r")), **_patterns(config, pairs)}
    for module, sides in pairs.items():
        if module not in shapes:
            raise AdapterError(f"the base has no {module}.", "It was trained on a model with other layers: train it again.")
        out, into = shapes[module]
        if sides != {"A": [ranks[module], into], "B": [out, ranks[module]]}:
            raise AdapterError(
                f"{module} has shapes {sides}, not rank {ranks[module]} on {out} × {into}.", "Train it on this base."
            )
    targets = config.get("target_modules")
    if isinstance(targets, str):
        raise AdapterError(
            f"its target_modules is the pattern {targets[:80]!r}, so nobody can say whether layers are missing.",
            "Write target_modules as a list of layer names.",
        )
    if isinstance(targets, list):
        missing = [m for m in shapes if m.rpartition(".")[2] in targets and m not in pairs]
        if missing:
            raise AdapterError(f"it has no weights for {missing[0]}, which it targets.", "It was made for fewer layers.")
    if not pairs:
        raise AdapterError("it holds no weights.", "Train it again.")


def _patterns(config: dict[str, Any], pairs: dict[str, Any]) -> dict[str, int]:
    pattern = config.get("rank_pattern") or {}
    if not isinstance(pattern, dict):
        raise AdapterError(f"its rank_pattern is a {type(pattern).__name__}.", f"Restore {CONFIG} from its source.")
    return {m: rank for m in pairs for end, rank in pattern.items() if m == end or m.endswith("." + end)}


def _linear_shapes(base: Base) -> dict[str, tuple[int, int]]:
    """Module name → (out, in) of every two-dimensional weight of the base."""
    return {
        key.removesuffix(".weight"): (shape[0], shape[1])
        for file in base.weights
        for key, (_, shape, _, _) in header(file).items()
        if key.endswith(".weight") and len(shape) == 2
    }
