"""Customer-service situations to try an agent on: `prompts/scenarios/<name>.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.errors import BotError, DataError, NotFound, faults
from bot.files import read_yaml
from bot.prompts.cases import Case
from bot.refs import check_name
from bot.types import AgentSpec


class Scenario(BaseModel):
    """`agent` is the suggested one; `cases` are messages with what a right reply holds."""

    model_config = ConfigDict(extra="forbid")
    title: str
    description: str
    openings: list[str] = Field(min_length=1)
    agent: AgentSpec
    cases: list[Case] = Field(default_factory=list)


def scenario_names(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "scenarios").glob("*.yaml"))


def readable_scenarios(root: Path) -> Iterator[tuple[str, Scenario]]:
    """Those that can be read, with their names: one that is broken hides no other. Asking for it says why."""
    for name in scenario_names(root):
        try:
            found = get_scenario(root, name)
        except BotError:
            continue
        yield name, found


def get_scenario(root: Path, name: str) -> Scenario:
    """Raises NotFound listing the scenarios there are, DataError for a file that does not fit."""
    path = root / "scenarios" / f"{check_name('scenario', name)}.yaml"
    if not path.exists():
        raise NotFound("scenario", name, scenario_names(root))
    try:
        return Scenario.model_validate(read_yaml(path))
    except ValidationError as error:
        raise DataError(f"{path} is not valid: {faults(error)}.", "prompts/README.md explains the format.") from None
