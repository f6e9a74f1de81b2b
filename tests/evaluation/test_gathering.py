"""What an evaluation rests on: pinned parts, held-out turns, their hashes; what was seen before stops it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.desk import Desk
from bot.errors import DataError, NotFound
from bot.evaluation.gathering import gather
from bot.evaluation.options import Options, read_options
from bot.evaluation.statistics import FEWEST
from bot.runs.progress import Quiet
from bot.training.split import is_held_out
from tests.evaluation.conftest import HELD_OUT, change_card, row, write_rows


async def gathered(desk: Desk, **options: Any) -> Any:
    return await gather(Options(**{"scenario": "returns", **options}), desk, Quiet())


def held_out_rows() -> list[dict[str, Any]]:
    return [row(number) for number in range(60) if is_held_out(f"r-{number:03}", HELD_OUT)]


async def test_parts_are_pinned_and_turns_are_the_held_out_ones(desk: Desk) -> None:
    found = await gathered(desk)
    parts = found.parts
    assert (parts.adapter, parts.adapter_prompt, parts.zero_shot) == ("returns@1", "support@1", "support@1")
    assert (parts.soft_prompt, parts.few_shot, parts.knowledge) == ("", "", "articles")
    assert len(found.arms) == 14
    rows = held_out_rows()
    assert {item.conversation for item in found.items} == {one["id"] for one in rows}
    assert len(found.items) == sum(len(one["messages"]) // 2 for one in rows)
    last = found.items[-1]
    assert last.history[-1].role == "user"
    assert {conversation.id for conversation in found.training}.isdisjoint(item.conversation for item in found.items)
    assert any(item.labels == {"sentiment": "neutral"} for item in found.items)
    assert any("returns-soft" in note for note in found.notes)


async def test_a_scenarios_own_name_is_its_domain(desk: Desk) -> None:
    assert (await gathered(desk, scenario="changed-my-mind")).domain == "returns"
    with pytest.raises(NotFound, match="changed-my-mind, first-question, returns"):
        await gathered(desk, scenario="return")
    with pytest.raises(DataError, match="'first-question' has no adapter"):
        await gathered(desk, scenario="first-question")


async def test_all_arms_draw_their_tokens_alike(desk: Desk, domain: Path) -> None:
    prompt = domain.parents[1] / "prompts" / "longer" / "v1.yaml"
    prompt.parent.mkdir()
    values = yaml.safe_load((domain.parents[1] / "prompts" / "support" / "v1.yaml").read_text())
    own = {"temperature": 0.7, "max_tokens": values["decoding"]["max_tokens"] + 30}
    prompt.write_text(yaml.safe_dump({**values, "decoding": own}))
    found = await gathered(desk, prompt=["zero-shot=longer@1"])
    assert found.parts.adapter_prompt == "support@1"
    wanted = {**values["decoding"], "max_tokens": own["max_tokens"]}
    assert all(arm.decoding == wanted for arm in found.arms)


async def test_a_prompt_is_named_by_its_technique(desk: Desk, steps: str) -> None:
    assert (await gathered(desk, prompt=[f"chain-of-thought={steps}"])).parts.chain_of_thought == "steps@1"
    for bad, error in (("chain=steps@1", DataError), ("few-shot=nobody@1", NotFound)):
        with pytest.raises(error):
            await gathered(desk, prompt=[bad])


async def test_hashes_are_of_all_that_figures_depend_on(desk: Desk, domain: Path) -> None:
    first = (await gathered(desk)).inputs
    assert {"base", "returns@1", "support@1", "returns.jsonl", "knowledge articles", "held-out turns"} <= set(first)
    assert (await gathered(desk)).inputs == first
    article = next((domain.parents[1] / "knowledge" / "articles").glob("*.md"))
    article.write_text(article.read_text() + "\nAnother line.\n")
    second = (await gathered(desk, seeds=3)).inputs
    assert {name for name in first if first[name] != second[name]} >= {"knowledge articles", "seeds"}


async def test_whole_conversations_up_to_a_limit(desk: Desk) -> None:
    whole, part = await gathered(desk), await gathered(desk, limit=7)
    assert 0 < len(part.items) <= 7
    ids = {item.conversation for item in part.items}
    assert [item for item in whole.items if item.conversation in ids] == list(part.items)
    assert any(str(FEWEST) in note and f"Only {len(ids)} " in note for note in part.notes)


async def test_training_conversations_in_a_set_of_ones_own_are_all_listed(desk: Desk, tmp_path: Path) -> None:
    seen = [row(number) for number in range(60) if not is_held_out(f"r-{number:03}", HELD_OUT)][:3]
    nearly: Any = json.loads(json.dumps(seen[1])) | {"id": "other"}
    nearly["messages"][-1]["content"] += "!"
    own = write_rows(tmp_path / "own", [seen[0], nearly, row(999)])
    with pytest.raises(DataError, match="2 of 3 held-out conversations were seen") as caught:
        await gathered(desk, data=str(own))
    assert f"{seen[0]['id']} ({seen[0]['id']} in the training of returns@1" in str(caught.value)
    assert f"other ({seen[1]['id']} in the training of returns@1" in str(caught.value)
    write_rows(own, [row(999)])
    assert {item.conversation for item in (await gathered(desk, data=str(own))).items} == {"r-999"}


async def test_a_prompts_example_that_is_a_held_out_turn_is_listed(desk: Desk, domain: Path) -> None:
    turn: Any = held_out_rows()[0]
    prompt = domain.parents[1] / "prompts" / "shown" / "v1.yaml"
    prompt.parent.mkdir()
    values = yaml.safe_load((domain.parents[1] / "prompts" / "support" / "v1.yaml").read_text())
    customer, agent = (message["content"] for message in turn["messages"][:2])
    examples = [{"customer": customer, "agent": agent, "source": "a test"}]
    prompt.write_text(yaml.safe_dump({**values, "technique": "few-shot", "examples": examples}))
    with pytest.raises(DataError, match=rf"{turn['id']} \(example 1 of shown@1\)"):
        await gathered(desk, prompt=["few-shot=shown@1"])
    assert await gathered(desk, prompt=["few-shot=shown@1"], arms=["base", "adapter"]), "it takes no part"


async def test_what_is_not_known_of_training_is_a_remark(desk: Desk, domain: Path) -> None:
    transcripts = domain / "transcripts" / "returns.jsonl"
    transcripts.write_text(transcripts.read_text() + json.dumps(row(77)) + "\n")
    assert any("returns.jsonl changed since returns@1" in note for note in (await gathered(desk)).notes)
    change_card(domain / "v1", claimed=True, recipe={}, data={}, prompt="", prompt_hash="")
    (domain / "recipe.yaml").write_text(f"prompt: support@1\ntargets: [q_proj]\nheld_out: {HELD_OUT}\nnearly_the_same: 1\n")
    notes = (await gathered(desk)).notes
    assert any("What returns@1 was trained on is not known" in note for note in notes)


async def test_the_newest_version_that_may_serve_takes_part(desk: Desk, domain: Path) -> None:
    shutil.copytree(domain / "v1", domain / "v2")
    found = await gathered(desk)
    assert found.parts.adapter == "returns@1"
    assert any("returns@2 does not take part" in note for note in found.notes)


def test_options_go_through_a_runs_folder_and_a_command() -> None:
    options = Options(scenario="returns", arms=("adapter", "*+knowledge"), seeds=3, labels=False, prompt=("few-shot=a@1",))
    assert read_options("returns", options.texts()) == options
    words = ["--arms", "adapter", "--arms", "*+knowledge", "--seeds", "3", "--no-labels", "--prompt", "few-shot=a@1"]
    assert options.words() == words
    assert Options(scenario="returns").texts() == ()
