"""The two things a classifier stands on: the encoder with its top layers thawing, or the causal base under a LoRA.

Both give logits (rows, labels) for padded ids, say which parameters learn at which step size, and are written as the kind
of folder that serves them: the encoder's own (`bot/adapters/encoder.py`), or a plain PEFT folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bot.adapters.encoder import CONFIG, HEAD, WEIGHTS, EncoderConfig
from bot.base import Base
from bot.engine.local.encode import encode
from bot.engine.local.encoder import load_encoder, load_encoder_tokenizer, pooled, read_classifier, read_texts
from bot.engine.local.model import load_tokenizer
from bot.errors import DataError
from bot.training import adapter as adapters
from bot.training.facts import public_name
from bot.training.recipe import Recipe
from bot.types import Adapter, Message

_LAYER_DECAY = 0.8
"""Each layer learns at this share of the step size of the one above it: lower ones hold what all languages share."""
_HEAD_RATE = 5
"""The head is new, so it learns at this many times the layers' step size."""
_SHARPNESS = 25
"""How many nats lie between a text like its label's mean and one unlike it, before anything is trained."""


class Backbone(Protocol):
    """What a classifier stands on. `pad` is the id that fills rows up."""

    base: Base
    pad: int

    @property
    def model(self) -> nn.Module: ...

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """What the model reads of each text, as serving encodes it."""
        ...

    def begin(self, batches: Iterable[dict[str, Tensor]]) -> None:
        """Prepare the head from the training rows: batches with input_ids, attention_mask, labels."""
        ...

    def trained(self) -> list[nn.Parameter]:
        """All that may ever be trained."""
        ...

    def groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """The optimiser's parameter groups, of all that is trained."""
        ...

    def thaw(self, epoch: int) -> None:
        """Let what is trained in this epoch, from 0, change."""
        ...

    def finish(self, temperature: float) -> None:
        """Divide the logits by `temperature` from now on, and round the weights to what is saved."""
        ...

    def save(self, folder: Path) -> None: ...


def fresh(base: Base, recipe: Recipe, labels: int) -> Backbone:
    """What the recipe asks for, yet to be trained."""
    if recipe.backbone == "encoder":
        return OnEncoder(base, recipe, labels)
    from peft import get_peft_model

    return OnBase(base, labels, lambda model: get_peft_model(model, adapters.lora(base, model, recipe, "SEQ_CLS")))


def saved(base: Base, adapter: Adapter) -> Backbone:
    """A verified classifier as it was when it was saved, to be asked and not to be trained; `base` is what it stands on."""
    if not adapter.encoder:
        from peft import PeftModel

        return OnBase(base, len(adapter.labels), lambda model: PeftModel.from_pretrained(model, str(adapter.path)))
    found = read_classifier(adapter)
    recipe = Recipe(method="classifier", unfreeze=0, max_tokens=found.max_tokens)
    backbone = OnEncoder(base, recipe, len(adapter.labels))
    backbone.model.encoder.load_state_dict(dict(found.layers), strict=False)
    backbone.model.head.load_state_dict({"weight": found.head, "bias": found.bias})
    return backbone


class EncoderClassifier(nn.Module):
    """An encoder, the mean over its output, and a linear head."""

    def __init__(self, encoder: Any, labels: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, labels)
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout

    def vectors(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(rows, width)."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return pooled(states, attention_mask)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.vectors(input_ids, attention_mask)))
        return logits


class OnEncoder:
    """The head and the top `recipe.unfreeze` layers learn, one more with each epoch; embeddings never do."""

    def __init__(self, base: Base, recipe: Recipe, labels: int) -> None:
        self.base = base
        encoder = load_encoder(base.path)
        self._tokenizer = load_encoder_tokenizer(base.path)
        self.pad = int(self._tokenizer.pad_token_id or 0)
        self._max_tokens = min(recipe.max_tokens, encoder.config.max_position_embeddings)
        self.model: EncoderClassifier = EncoderClassifier(encoder, labels, recipe.dropout)
        self.model.requires_grad_(False)
        self._layers = _layers(encoder)
        if recipe.unfreeze > len(self._layers):
            raise DataError(
                f"unfreeze is {recipe.unfreeze}; the encoder {base.name!r} has {len(self._layers)} layers.", "Lower it."
            )
        self._trained = self._layers[len(self._layers) - recipe.unfreeze :]

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return read_texts(self._tokenizer, texts, self._max_tokens)

    @torch.no_grad()
    def begin(self, batches: Iterable[dict[str, Tensor]]) -> None:
        """Each label's row of the head becomes the mean direction of its texts: a start that already tells most apart."""
        self.model.eval()
        sums, norms, rows = torch.zeros_like(self.model.head.weight), 0.0, 0
        for batch in batches:
            vectors = self.model.vectors(batch["input_ids"], batch["attention_mask"])
            sums.index_add_(0, batch["labels"], nn.functional.normalize(vectors, dim=-1))
            norms, rows = norms + float(vectors.norm(dim=-1).sum()), rows + len(vectors)
        self.model.head.weight.copy_(nn.functional.normalize(sums, dim=-1) * (_SHARPNESS * rows / norms))
        self.model.head.bias.zero_()

    def trained(self) -> list[nn.Parameter]:
        return [*self.model.head.parameters(), *self._trained.parameters()]

    def groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        rates: list[tuple[nn.Module, float]] = [(self.model.head, learning_rate * _HEAD_RATE)]
        rates += [(layer, learning_rate * _LAYER_DECAY**depth) for depth, layer in enumerate(reversed(self._trained))]
        return [group for module, rate in rates for group in _with_decay(module.parameters(), rate, weight_decay)]

    def thaw(self, epoch: int) -> None:
        self.model.head.requires_grad_(True)
        for layer in self._trained[max(0, len(self._trained) - epoch - 1) :]:
            layer.requires_grad_(True)

    @torch.no_grad()
    def finish(self, temperature: float) -> None:
        _cool(self.model.head, temperature)
        for parameter in self.trained():
            parameter.copy_(parameter.half())

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        inside = {id(parameter) for layer in self._trained for parameter in layer.parameters()}
        weights = {name: value for name, value in self.model.encoder.named_parameters() if id(value) in inside}
        weights |= dict(zip(HEAD, (self.model.head.weight, self.model.head.bias), strict=True))
        save_file({name: value.detach().half().contiguous() for name, value in weights.items()}, folder / WEIGHTS)
        config = EncoderConfig(layers=len(self._trained), max_tokens=self._max_tokens)
        (folder / CONFIG).write_text(json.dumps(config.model_dump(), indent=2) + "\n", encoding="utf-8")


class OnBase:
    """A LoRA, which `adapted` puts on the frozen base, and a head over the last place of what serving would answer."""

    def __init__(self, base: Base, labels: int, adapted: Callable[[Any], Any]) -> None:
        from transformers import AutoModelForSequenceClassification

        self.base = base
        self._tokenizer = load_tokenizer(base)
        pad = self._tokenizer.pad_token_id
        self.pad = int(pad if pad is not None else self._tokenizer.eos_token_id)
        model = AutoModelForSequenceClassification.from_pretrained(
            base.path, num_labels=labels, dtype=torch.float32, pad_token_id=self.pad, local_files_only=True
        )
        self.model: Any = adapted(model)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [encode(self._tokenizer, [Message("user", text)]) for text in texts]

    def begin(self, batches: Iterable[dict[str, Tensor]]) -> None:
        pass

    def trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        return _with_decay(self.trained(), learning_rate, weight_decay)

    def thaw(self, epoch: int) -> None:
        pass

    @torch.no_grad()
    def finish(self, temperature: float) -> None:
        _cool(self.model.get_base_model().score.modules_to_save[self.model.active_adapter], temperature)

    def save(self, folder: Path) -> None:
        adapters.save(self.model, folder, public_name(self.base))


def _layers(encoder: Any) -> nn.ModuleList:
    """The encoder's layers, lowest first. Raises DataError for a model that has none."""
    number = encoder.config.num_hidden_layers
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise DataError(f"The encoder has no list of {number} layers.", "Set encoder: minilm.")


def _with_decay(parameters: Iterable[nn.Parameter], rate: float, decay: float) -> list[dict[str, Any]]:
    """Matrices are pulled towards 0; biases and norms are not."""
    given = list(parameters)
    matrices, rest = [p for p in given if p.ndim > 1], [p for p in given if p.ndim < 2]
    groups = ({"params": matrices, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0})
    return [{**group, "lr": rate} for group in groups if group["params"]]


def _cool(head: nn.Linear, temperature: float) -> None:
    head.weight.div_(temperature)
    if head.bias is not None:
        head.bias.div_(temperature)
