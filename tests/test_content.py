"""Every shipped content file loads, renders, verifies, and agrees with the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.adapters.card import read_card
from bot.adapters.catalog import AdapterCatalog
from bot.base import open_base, open_encoder
from bot.knowledge.articles import article_files, collections, read_article, split
from bot.prompts.cases import read_cases
from bot.prompts.render import render
from bot.prompts.scenarios import get_scenario, scenario_names
from bot.prompts.schema import dump_prompt, parse_prompt
from bot.skeleton import SOURCE
from bot.types import Message, Passage
from tests.conftest import ROOT

WORKSPACES = [ROOT, SOURCE]
PROMPTS = [path for workspace in WORKSPACES for path in sorted((workspace / "prompts").glob("*/v*.yaml"))]
TRANSCRIPTS = sorted((ROOT / "adapters").glob("*/transcripts/*.jsonl"))
CONTROL = ("<|", "|>", "<s>", "</s>", "[INST]")


def ident(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PROMPTS, ids=ident)
def test_prompts_load_render_and_round_trip(path: Path) -> None:
    prompt = parse_prompt(path.read_text(), path.name)
    assert parse_prompt(dump_prompt(prompt)) == prompt
    for passages in (None, [], [Passage("a#1", "Title", "A fact.", "a")]):
        messages = render(prompt, prompt.examples, {}, passages, [Message("user", "Hello?")])
        assert messages[-1].role == "user"
        assert "{" not in messages[0].content
    assert not any(token in path.read_text() for token in CONTROL)


@pytest.mark.parametrize("workspace", WORKSPACES, ids=ident)
def test_labels_scenarios_and_settings_point_at_what_exists(workspace: Path) -> None:
    import yaml

    labels = yaml.safe_load((workspace / "prompts" / "labels.yaml").read_text())
    for name, pointers in labels.items():
        for version in pointers.values():
            assert (workspace / "prompts" / name / f"v{version}.yaml").exists()
    assert scenario_names(workspace / "prompts")
    for name in scenario_names(workspace / "prompts"):
        agent = get_scenario(workspace / "prompts", name).agent
        prompt, _, label = agent.prompt.partition("@")
        assert label in labels[prompt]
        assert agent.knowledge in collections(workspace / "knowledge")


@pytest.mark.parametrize("workspace", WORKSPACES, ids=ident)
def test_articles_load_and_split_into_short_passages(workspace: Path) -> None:
    for collection in collections(workspace / "knowledge"):
        files = article_files(workspace / "knowledge", collection)
        passages = [passage for path in files for passage in split(read_article(path))]
        assert len({p.id for p in passages}) == len(passages)
        assert all(0 < len(p.text) <= 700 for p in passages)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=ident)
def test_transcripts_are_whole_conversations_with_labels(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) >= 80
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2), row["id"]
        assert all(message["content"].strip() for message in row["messages"]), row["id"]
        asked = [at for at, role in enumerate(roles) if role == "user"]
        assert [label["turn"] for label in row["labels"]] == asked, row["id"]
        assert not any(token in json.dumps(row) for token in CONTROL), row["id"]


def test_openings_and_cases_are_not_in_the_training_rows() -> None:
    said = {
        m["content"] for path in TRANSCRIPTS for line in path.read_text().splitlines() for m in json.loads(line)["messages"]
    }
    for name in scenario_names(ROOT / "prompts"):
        scenario = get_scenario(ROOT / "prompts", name)
        assert not said & {*scenario.openings, *(case.message for case in scenario.cases)}
    for path in (ROOT / "prompts").glob("*/cases.yaml"):
        assert not said & {case.message for case in read_cases(path.parent).cases}


def test_shipped_adapters_serve_on_the_starter_and_plain_peft_loads_them() -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = open_base("starter")
    catalog = AdapterCatalog(ROOT / "adapters", base, open_encoder("minilm"))
    assert {"returns", "returns-soft", "returns-intent"} <= set(catalog.names())
    model = AutoModelForCausalLM.from_pretrained(base.path)
    for name in catalog.names():
        for version in catalog.versions(name):
            adapter, card = catalog.get(f"{name}@{version}"), catalog.card(f"{name}@{version}")
            if adapter.method == "classifier":
                # Those of the demo stand on the encoder and read the message alone.
                continue
            prompt, _, number = card.prompt.partition("@")
            trained_under = parse_prompt((ROOT / "prompts" / prompt / f"v{number}.yaml").read_text())
            assert card.prompt_hash == trained_under.hash, f"{adapter.ref} was trained under another {card.prompt}"
            loaded = PeftModel.from_pretrained(model, str(adapter.path))
            model = loaded.unload() if adapter.method == "lora" else loaded.get_base_model()


def test_shipped_adapters_passed_their_gates_and_say_what_they_are_for() -> None:
    cards = [read_card(path.parent) for path in sorted((ROOT / "adapters").glob("*/v*/card.yaml"))]
    assert {"returns", "billing", "technical", "returns-soft", "billing-soft", "technical-soft"} <= {
        card.name for card in cards
    }
    for card in cards:
        # Classifiers have none: their cards tell them beside the commonest label and TF-IDF.
        assert card.gates or card.method == "classifier", f"{card.name}@{card.version} has no gates: train it again"
        assert all(gate.ok for gate in card.gates), card.name
        assert card.intended_use, card.name
        assert card.limits, card.name


def test_the_clone_stays_small() -> None:
    starter = ROOT / "bot" / "starter" / "model"
    assert sum(path.stat().st_size for path in starter.iterdir()) <= 40e6
