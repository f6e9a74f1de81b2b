"""What an evaluation is asked for: strict data that a run's folder keeps, and that a command can be made from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.errors import DataError, faults

Technique = Literal["zero-shot", "few-shot", "chain-of-thought"]
REPEATED = ("arms", "prompt")


class Options(BaseModel):
    """`scenario` is a domain (the adapter that scenarios' agents carry) or a scenario's own name. `arms` are patterns, all
    where there are none; `seeds` is how many. `data` is a folder with a held-out set of one's own, `limit` the most turns
    (0: all), `curve` whether the learning curve is made, `labels` whether messages are labelled and handed over, too.
    `adapter` and `prompt` name what takes part instead of what is found: "returns@1", "few-shot=support-examples@2".
    `prices` is a price file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: str
    arms: tuple[str, ...] = ()
    seeds: int = Field(2, ge=1, le=100)
    data: str = ""
    limit: int = Field(0, ge=0)
    curve: bool = False
    labels: bool = True
    adapter: str = ""
    prompt: tuple[str, ...] = ()
    prices: str = ""

    def texts(self) -> tuple[str, ...]:
        """What differs from the defaults, as key=value, the scenario left out."""
        return tuple(f"{key}={json.dumps(value)}" for key, value in self._given())

    def words(self) -> list[str]:
        """The same as words of the command, behind its scenario."""
        found: list[str] = []
        for key, value in self._given():
            if isinstance(value, bool):
                found.append(f"--{key}" if value else f"--no-{key}")
            else:
                found += [word for one in (value if key in REPEATED else [value]) for word in (f"--{key}", str(one))]
        return found

    def prompts(self) -> dict[Technique, str]:
        """Technique → prompt. Raises DataError for what is not written like few-shot=support-examples@2."""
        chosen: dict[Technique, str] = {}
        for text in self.prompt:
            way, equals, ref = (part.strip() for part in text.partition("="))
            if way not in ("zero-shot", "few-shot", "chain-of-thought") or not equals or not ref:
                raise DataError(f"{text!r} names no prompt of a technique.", "Like few-shot=support-examples@2.")
            chosen[cast("Technique", way)] = ref
        return chosen

    def _given(self) -> list[tuple[str, Any]]:
        return list(self.model_dump(mode="json", exclude_defaults=True, exclude={"scenario"}).items())


def read_options(scenario: str, texts: Iterable[str]) -> Options:
    """What `texts()` gave. Raises DataError."""
    parts = (text.partition("=") for text in texts)
    return make_options(scenario=scenario, **{key: json.loads(value) for key, _, value in parts})


def make_options(**values: object) -> Options:
    """Raises DataError naming every bad one."""
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        raise DataError(f"The options do not fit: {faults(error)}.", "bot evaluate --help tells them.") from None
