"""May this classifier serve on this encoder? Answered from the files alone, as `verify.py` does for adapters of the base.

Its folder is a kind of its own: `config.json` says how it reads, `model.safetensors` holds its head and the encoder's top
layers as training left them; all below is the encoder's own. Nothing in it is run or unpickled.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.adapters.folder import check_base, check_files, check_labels
from bot.adapters.tensors import finite_weights, header
from bot.base import Base
from bot.errors import AdapterError, faults
from bot.files import read_json
from bot.types import Adapter, content_hash

CONFIG, WEIGHTS = "config.json", "model.safetensors"
HEAD = "head.weight", "head.bias"
_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


class EncoderConfig(BaseModel):
    """`layers` are how many of the encoder's top ones are in the folder, `max_tokens` where a text is cut. The head reads
    the mean of the encoder's output over the text's tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(ge=0)
    max_tokens: int = Field(ge=2)


def is_on_encoder(folder: Path) -> bool:
    return (folder / CONFIG).exists() and not (folder / "adapter_config.json").exists()


def verify_on_encoder(name: str, version: int, folder: Path, encoder: Base | None) -> Adapter:
    """The classifier in `folder`, or AdapterError with the reason and the remedy."""
    card = check_files(folder, (CONFIG, WEIGHTS))
    if (card.name, card.version) != (name, version):
        raise AdapterError(f"its card says {card.name}@{card.version}.", "A copy is no version: train it here.")
    if card.method != "classifier":
        raise AdapterError(
            f"its card says {card.method}, but its folder is a classifier's on an encoder.", "Train it again."
        )
    if encoder is None:
        raise AdapterError(f"it stands on the encoder {card.base}, and there is none here.", "Set encoder: minilm.")
    check_base(card, encoder, "encoder")
    config = _read_config(folder, encoder)
    check_labels(card.labels)
    width = encoder.config.get("hidden_size")
    expected = {
        HEAD[0]: [len(card.labels), width],
        HEAD[1]: [len(card.labels)],
        **layer_shapes(encoder, config.layers),
    }
    found = finite_weights(folder / WEIGHTS)
    for key in sorted(expected.keys() | found.keys()):
        if found.get(key) != expected.get(key):
            raise AdapterError(
                f"{key} has shape {found.get(key, 'none')}, not {expected.get(key, 'none')}, with {len(card.labels)} labels"
                f" and {config.layers} layers of {encoder.name}.",
                "Train it on this encoder.",
            )
    content = content_hash(*sorted(card.files.values()), "labels", *card.labels)
    return Adapter(name, version, folder, content, "classifier", labels=card.labels, encoder=encoder.path)


def _read_config(folder: Path, encoder: Base) -> EncoderConfig:
    try:
        config = EncoderConfig.model_validate(read_json(folder / CONFIG))
    except ValidationError as error:
        raise AdapterError(f"its {CONFIG} is not valid: {faults(error)}.", "Restore it from its source.") from None
    layers, context = encoder.config.get("num_hidden_layers", 0), encoder.config.get("max_position_embeddings", 0)
    if config.layers > layers or config.max_tokens > context:
        raise AdapterError(
            f"it has {config.layers} layers and reads {config.max_tokens} tokens;"
            f" {encoder.name} has {layers} and {context}.",
            "It was made for another encoder: train it again.",
        )
    return config


def layer_shapes(encoder: Base, layers: int) -> dict[str, list[int]]:
    """Name → shape of every tensor in the encoder's top `layers`, named as its modules are."""
    lowest = encoder.config["num_hidden_layers"] - layers
    prefix = f"{encoder.config['model_type']}."
    return {
        key.removeprefix(prefix): shape
        for file in encoder.weights
        for key, (_, shape, _, _) in header(file).items()
        for layer in _LAYER.findall(key)[:1]
        if int(layer) >= lowest
    }
