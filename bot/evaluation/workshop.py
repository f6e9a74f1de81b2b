"""Evaluations as the workshop's page begins them: the scenarios there are, one started under options.

Loads no model and no torch.
"""

from __future__ import annotations

from bot.evaluation.domain import adapters_of, domain_of
from bot.evaluation.options import Options
from bot.evaluation.rooms import Rooms
from bot.prompts.scenarios import readable_scenarios
from bot.runs.folder import EVALUATION
from bot.runs.workshop import Workshop


def domains(rooms: Rooms) -> list[str]:
    """What can be evaluated: the adapters that scenarios carry."""
    root = rooms.settings.workspace / "prompts"
    return sorted({adapter for _, found in readable_scenarios(root) for adapter in adapters_of(found)})


def start(workshop: Workshop, options: Options, rooms: Rooms) -> None:
    """Begin an evaluation. Raises NotFound for an unknown scenario, DataError for options that do not fit, Conflict while
    another run is at work."""
    domain_of(options.scenario, rooms)
    options.prompts()
    workshop.start(EVALUATION, options.scenario, options.words())
