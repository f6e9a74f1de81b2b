"""An evaluation as the desk's page begins it: the domains there are, and the words of `bot evaluate` for what was chosen.

Loads no model and no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from bot.errors import DataError, NotFound
from bot.evaluation.arms import KNOWLEDGE, Way
from bot.prompts.scenarios import Scenario, get_scenario, scenario_names
from bot.runs.folder import EVALUATION
from bot.runs.workshop import Workshop

WAYS: tuple[str, ...] = get_args(Way)
SHOWN = ("both", "with", "without")
"""Which arms by whether they are shown passages."""


def domain_of(scenario: Scenario) -> str:
    """The adapter that a scenario's agent carries first; "" where it carries none."""
    return scenario.agent.adapters.partition("+")[0].partition("*")[0].partition("@")[0].strip()


def domains(workspace: Path) -> list[str]:
    """What can be evaluated: the domains of all scenarios."""
    root = workspace / "prompts"
    return sorted({domain for name in scenario_names(root) if (domain := domain_of(get_scenario(root, name)))})


def words(ways: Sequence[str], shown: str, turns: int, with_curve: bool) -> list[str]:
    """Further words for `bot evaluate`. Raises DataError where no arm is left."""
    kept = [way for way in WAYS if way in ways]
    if not kept:
        raise DataError("No arm is chosen.", "Tick at least one way.")
    suffixes = {"both": ("", KNOWLEDGE), "with": (KNOWLEDGE,), "without": ("",)}[shown if shown in SHOWN else "both"]
    arms = [] if len(kept) == len(WAYS) and len(suffixes) == 2 else [way + suffix for suffix in suffixes for way in kept]
    said = [part for arm in arms for part in ("--arms", arm)]
    if turns > 0:
        said += ["--turns", str(turns)]
    return [*said, *(["--curve"] if with_curve else [])]


def start(workshop: Workshop, workspace: Path, domain: str, said: Sequence[str]) -> None:
    """Begin an evaluation. Raises NotFound for a domain that no scenario has, Conflict while another run is at work."""
    if domain not in (known := domains(workspace)):
        raise NotFound("domain", domain, known, "A scenario names it: the adapter of its agent.")
    workshop.start(EVALUATION, domain, said)
