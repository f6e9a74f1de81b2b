"""How an adapter is trained: `adapters/<name>/recipe.yaml` as strict data. Unknown keys are errors.

Knows nothing of models; whether prompt, collection and target modules exist is checked where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bot.errors import DataError, faults
from bot.files import parse_yaml, read_yaml
from bot.refs import BadName, parse_ref

_METHODS = {"lora", "soft-prompt", "classifier"}
_LEARNING_RATE = {"lora": 1e-3, "soft-prompt": 0.5, "classifier on base": 1e-3, "classifier on encoder": 2e-4}
_ONLY_FOR = {
    "nearly_the_same": {"lora", "soft-prompt"},
    "augment": {"lora", "soft-prompt"},
    "evaluations": {"lora", "soft-prompt"},
    "canaries": {"lora", "soft-prompt"},
    "prompt": {"lora", "soft-prompt"},
    "knowledge": {"lora", "soft-prompt"},
    "targets": {"lora", "classifier on base"},
    "rank": {"lora", "classifier on base"},
    "alpha": {"lora", "classifier on base"},
    "rslora": {"lora", "classifier on base"},
    "dropout": {"lora", "classifier on base", "classifier on encoder"},
    "virtual_tokens": {"soft-prompt"},
    "start": {"soft-prompt"},
    "task": {"classifier on base", "classifier on encoder"},
    "backbone": {"classifier on base", "classifier on encoder"},
    "unfreeze": {"classifier on encoder"},
    "label_smoothing": {"classifier on base", "classifier on encoder"},
}
"""Keys that not every kind of run reads → the kinds that do."""


def _kind(values: Mapping[str, Any]) -> str:
    method = str(values["method"])
    return f"{method} on {values['backbone']}" if method == "classifier" else method


class Recipe(BaseModel):
    """The keys of a recipe. The shipped `adapters/returns/recipe.yaml` explains each. Where methods need different
    values, a key may name one for each: `learning_rate: {lora: 0.003, soft-prompt: 0.5}`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Literal["lora", "soft-prompt", "classifier"] = "lora"
    data: str = Field("transcripts", min_length=1)
    scrub: bool = True
    nearly_the_same: float = Field(0.9, gt=0, le=1)
    augment: int = Field(0, ge=0, le=10)
    prompt: str = ""
    knowledge: str = ""
    targets: list[str] = []
    rank: int = Field(8, ge=1, le=512)
    alpha: int = Field(16, ge=1, le=4096)
    rslora: bool = False
    dropout: float = Field(0.05, ge=0, lt=1)
    virtual_tokens: int = Field(20, ge=1, le=512)
    start: str = ""
    task: Literal["intent", "sentiment", "handoff"] = "intent"
    backbone: Literal["encoder", "base"] = "encoder"
    unfreeze: int = Field(6, ge=0, le=1000)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    learning_rate: float = Field(default_factory=lambda known: _LEARNING_RATE[_kind(known)], gt=0, le=1)
    warmup: float = Field(0.1, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0, le=1)
    epochs: int = Field(3, ge=1, le=1000)
    batch_size: int = Field(8, ge=1, le=4096)
    max_tokens: int = Field(1024, ge=8)
    evaluations: int = Field(1, ge=1, le=100)
    patience: int = Field(1, ge=1)
    held_out: float = Field(0.15, gt=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**32)
    reseeds: int = Field(0, ge=0, le=50)
    canaries: int = Field(1, ge=0, le=100)
    intended_use: str = ""
    limits: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_its_method(cls, values: dict[str, Any]) -> dict[str, Any]:
        method = str(values.get("method", "lora"))
        if method not in _METHODS:
            return {key: value for key, value in values.items() if not isinstance(value, dict)}
        for key, value in values.items():
            if isinstance(value, dict) and (method not in value or not value.keys() <= _METHODS):
                raise ValueError(f"{key} has values for {', '.join(map(str, value))}; {method} needs one")
        return {key: value[method] if isinstance(value, dict) else value for key, value in values.items()}

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Recipe:
        if self.method != "classifier" and not self.prompt:
            raise ValueError(f"prompt names none, and a {self.method} is trained under one, like support@2")
        if _kind(self.model_dump()) in _ONLY_FOR["targets"] and not self.targets:
            raise ValueError("targets names no layer, and a LoRA needs one")
        return self

    def used(self) -> dict[str, Any]:
        """What applies to its method, as a card states it."""
        values = self.model_dump(mode="json", exclude={"intended_use", "limits"})
        kind = _kind(values)
        return {key: value for key, value in values.items() if key not in _ONLY_FOR or kind in _ONLY_FOR[key]}

    @field_validator("data")
    @classmethod
    def _beside_the_recipe(cls, folder: str) -> str:
        if Path(folder).is_absolute():
            raise ValueError("an absolute path means nothing on another machine; write it as seen from the recipe")
        return folder

    @field_validator("prompt")
    @classmethod
    def _pinned(cls, ref: str) -> str:
        if not ref:
            return ref
        try:
            pointer = parse_ref("prompt", ref)[1]
        except BadName as error:
            raise ValueError(error.what) from None
        if not pointer.isdecimal():
            raise ValueError(f"{ref!r} names no version; write it like support@2, since a label may move")
        return ref


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in `path` under `overrides` such as "epochs=2". Raises DataError naming every bad key."""
    values: dict[str, Any] = {**read_yaml(path), **dict(_override(text) for text in overrides)}
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise DataError(f"{path} is not valid: {faults(error)}.", f"It takes: {', '.join(Recipe.model_fields)}.") from None


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key.isidentifier():
        raise DataError(f"{text!r} is no override.", "Write key=value, like epochs=2.")
    found = parse_yaml(f"{key}: {value}", f"the override {text!r}") if value else {key: ""}
    if len(found) > 1:
        raise DataError(f"{text!r} is more than one override.", "Write one key=value each, like epochs=2.")
    return key, found[key]
