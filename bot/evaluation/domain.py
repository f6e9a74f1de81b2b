"""A scenario's word → its domain, and the parts that arms are made of: the newest adapter that may serve, the prompt it was
trained under, one prompt a technique, the collection; every one with its version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.adapters.card import Card
from bot.errors import BotError, DataError, NotFound
from bot.evaluation.arms import Parts
from bot.evaluation.options import Options, Technique
from bot.evaluation.rooms import Rooms
from bot.prompts.library import PromptLibrary
from bot.prompts.scenarios import Scenario, get_scenario, scenario_names
from bot.training.prepared import SOFT

_TECHNIQUES: tuple[Technique, ...] = ("zero-shot", "few-shot", "chain-of-thought")


@dataclass(frozen=True)
class Domain:
    """`name` is its adapter's, `scenarios` those it is met in, the one that was asked for first."""

    name: str
    scenarios: tuple[Scenario, ...]


def domain_of(scenario: str, rooms: Rooms) -> Domain:
    """Raises NotFound listing the domains and scenarios there are, DataError for a scenario without an adapter."""
    root = rooms.settings.workspace / "prompts"
    known = {name: get_scenario(root, name) for name in scenario_names(root)}
    of = {name: adapters_of(found) for name, found in known.items()}
    domains = sorted({adapter for adapters in of.values() for adapter in adapters})
    if scenario in domains:
        return Domain(scenario, tuple(known[name] for name in known if scenario in of[name]))
    if scenario not in known:
        raise NotFound("scenario", scenario, [*domains, *known], "A scenario lies in prompts/scenarios/.")
    if not of[scenario]:
        raise DataError(
            f"The scenario {scenario!r} has no adapter, so no transcripts.",
            f"Take a domain: {', '.join(domains) or 'none'}.",
        )
    name = of[scenario][0]
    others = (known[other] for other in known if other != scenario and name in of[other])
    return Domain(name, (known[scenario], *others))


def adapters_of(scenario: Scenario) -> list[str]:
    """Names of the adapters in its agent's mix."""
    terms = scenario.agent.adapters.split("+")
    return [name for term in terms if (name := re.split("[@*]", term.strip())[0]) and name != "base"]


def find_parts(domain: Domain, options: Options, rooms: Rooms) -> tuple[Parts, list[str]]:
    """The parts, and remarks on what is missing. Raises NotFound or AdapterError where what was named cannot be had."""
    notes: list[str] = []
    adapter = rooms.adapters.get(options.adapter).ref if options.adapter else _newest(domain.name, rooms, notes)
    soft = _newest(domain.name + SOFT, rooms, notes)
    named = options.prompts()
    own = [scenario.agent.prompt.partition("@")[0] for scenario in domain.scenarios if scenario.agent.prompt]
    prompts = {way: _prompt(way, named.get(way, ""), own, rooms) for way in _TECHNIQUES}
    notes += [f"No prompt in production is {way}." for way, ref in prompts.items() if not ref]
    return Parts(
        zero_shot=prompts["zero-shot"],
        few_shot=prompts["few-shot"],
        chain_of_thought=prompts["chain-of-thought"],
        adapter=adapter,
        adapter_prompt=_trained_under(adapter, rooms, notes),
        soft_prompt=soft,
        soft_prompt_prompt=_trained_under(soft, rooms, notes),
        knowledge=next((s.agent.knowledge for s in domain.scenarios if s.agent.knowledge), ""),
    ), notes


def common_decoding(parts: Parts, prompts: PromptLibrary) -> dict[str, object]:
    """How every arm's tokens are drawn: as the adapter's prompt says, else the first one there is, with room for the longest
    replies that any of the prompts allows. Nothing is said where there is no prompt."""
    refs = (parts.adapter_prompt, parts.zero_shot, parts.few_shot, parts.chain_of_thought, parts.soft_prompt_prompt)
    found = [prompts.get(ref).prompt.decoding.model_dump(exclude_none=True) for ref in refs if ref]
    rooms = [decoding["max_tokens"] for decoding in found if "max_tokens" in decoding]
    return {**(found[0] if found else {}), **({"max_tokens": max(rooms)} if rooms else {})}


def _newest(name: str, rooms: Rooms, notes: list[str]) -> str:
    """The newest version that may serve, as name@n; "" where there is none."""
    try:
        versions = rooms.adapters.versions(name)
    except NotFound as error:
        notes.append(error.what.partition(" There is:")[0] + " Its arms cannot answer.")
        return ""
    for version in reversed(versions):
        try:
            return rooms.adapters.get(f"{name}@{version}").ref
        except BotError as error:
            notes.append(f"{name}@{version} does not take part: {error}")
    return ""


def _prompt(technique: Technique, named: str, own: Sequence[str], rooms: Rooms) -> str:
    """The one that was named; else one in production of that technique, the scenarios' own first."""
    if named:
        return rooms.prompts.get(named).ref
    for name in [*dict.fromkeys(own), *rooms.prompts.names()]:
        try:
            version = rooms.prompts.get(name)
        except BotError:
            # Not in production.
            continue
        if version.prompt.technique == technique:
            return version.ref
    return ""


def _trained_under(ref: str, rooms: Rooms, notes: list[str]) -> str:
    """The prompt on the adapter's card; "" where the card names none, or it is not what it was."""
    if not ref:
        return ""
    card: Card = rooms.adapters.card(ref)
    if not card.prompt:
        notes.append(f"The card of {ref} names no prompt that it was trained under.")
        return ""
    try:
        found = rooms.prompts.get(card.prompt)
    except BotError as error:
        notes.append(f"{ref} was trained under {card.prompt}: {error}")
        return ""
    if found.prompt.hash != card.prompt_hash:
        notes.append(f"{card.prompt} is not what {ref} was trained under: its content changed since.")
    return found.ref
