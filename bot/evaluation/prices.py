"""The price file: what machine, work and tokens cost, as strict data. The shipped `prices.yaml` explains each key."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.errors import DataError, faults
from bot.files import read_yaml

DEFAULT = Path(__file__).with_name("prices.yaml")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TokenPrices(Part):
    prompt: float = Field(ge=0)
    reply: float = Field(ge=0)


class Prices(Part):
    currency: str = Field(min_length=1, max_length=12)
    machine_hour: float = Field(ge=0)
    working_hour: float = Field(ge=0)
    minutes_per_transcript: float = Field(ge=0)
    minutes_per_prompt_version: float = Field(ge=0)
    per_million_tokens: TokenPrices


def read_prices(path: Path = DEFAULT) -> Prices:
    """Raises DataError naming the file, every bad key and its rule."""
    try:
        return Prices.model_validate(read_yaml(path))
    except ValidationError as error:
        raise DataError(
            f"{path} is not valid: {faults(error)}.", f"It takes: {', '.join(Prices.model_fields)}; see {DEFAULT.name}."
        ) from None
