"""Labels are checked, copies are made of training rows alone, and the page shows it all and runs nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli import app
from bot.desk import Desk
from bot.engine.local.model import load_tokenizer
from bot.errors import DataError
from bot.runs.progress import Quiet
from bot.training.augment import augmented
from bot.training.data_report import examine, write_page
from bot.training.duplicates import alike
from bot.training.labels import balance, conflicts, rare
from bot.training.material import Material, gather
from bot.training.recipe import read_recipe
from bot.training.transcripts import read_transcripts
from tests.conftest import ROOT

SHIPPED = ROOT / "adapters" / "returns" / "recipe.yaml"
ATTACK = "<script>alert(1)</script> & <img src=x onerror=y> $x^2$"


def write(folder: Path) -> Path:
    """Twelve labelled conversations, two of which contradict each other, and things to complain of."""
    rows = []
    for number in range(12):
        asked = f"{ATTACK if number == 0 else ''} where is parcel number {number} of {'abcdefghijkl'[number] * 9} that I wait for"
        messages = [{"role": "user", "content": asked}, {"role": "agent", "content": f"It is {'xyz'[number % 3]}."}]
        rows.append({"id": f"r{number}", "messages": messages, "labels": [{"turn": 0, "intent": "delivery"}]})
    twin = json.loads(json.dumps(rows[3]))
    twin["id"], twin["labels"][0]["intent"] = "twin", ATTACK
    twin["messages"][0]["content"] += " now"
    twin["messages"][1]["content"] += " Write to a@example.org."
    stranger = {"messages": [{"role": ATTACK, "content": "x"}] * 2}
    lines = [*(json.dumps(row) for row in (*rows, twin)), "{broken", json.dumps(stranger)]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return folder


def test_labels_are_counted_and_contradictions_found_also_among_duplicates(tmp_path: Path) -> None:
    found = read_transcripts(write(tmp_path))
    assert balance(found.conversations)["intent"]["delivery"] == 12
    (conflict,) = examine(tmp_path).conflicts
    assert (conflict.key, conflict.labels, conflict.conversations) == ("intent", ("delivery", ATTACK), ("r3", "twin"))
    assert rare({"intent": {"delivery": 12, "thanks": 1}}) == [
        "intent 'thanks' stands at 1 of the messages; fewer than 5 are hardly learned"
    ]
    assert not conflicts(read_transcripts(SHIPPED.parent / "transcripts").conversations)


def test_likeness_is_the_share_of_pieces_and_chains_do_not_grow() -> None:
    text = "the quick brown fox jumps over the lazy dog and runs into the wood"
    texts = [text, "something else altogether, about lamps", text.upper() + "!", text + " now"]
    found = list(alike(texts, 0.8))
    assert [(number, earlier) for number, earlier, _ in found] == [(2, 0), (3, 0)]
    assert found[0][2] == 1
    assert 0.8 < found[1][2] < 1
    assert found == list(alike(texts, 0.8))


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag == "svg":
            assert dict(attrs)["role"] == "img"
            assert dict(attrs)["aria-label"]


def test_the_page_tells_everything_and_runs_nothing(tmp_path: Path) -> None:
    write_page(examine(write(tmp_path)), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert page.tags.count("svg") >= 4
    assert "rows.jsonl:14" in text
    assert "&lt;script&gt;" in text
    assert "a@example.org" not in text


def test_the_command_prints_figures_and_writes_the_page_where_it_belongs(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    done = CliRunner().invoke(app, ["data", "report", str(SHIPPED), "--workspace", str(workspace), "--json"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["conversations"] == 177
    assert figures["personal_data"] is None, "the recipe leaves made-up numbers as they are"
    assert examine(SHIPPED.parent / "transcripts").as_dict()["personal_data"] == {"ORDER": 59}
    assert sum(map(sum, figures["strata"].values())) == 177
    assert (workspace / "var" / "reports" / "data-returns.html").is_file()
    done = CliRunner().invoke(app, ["data", "report", str(SHIPPED), "--out", str(tmp_path / "p.html")])
    assert done.stdout.startswith("177 conversations")
    with pytest.raises(DataError, match="does not exist"):
        examine(tmp_path / "nowhere")


def test_copies_change_the_customers_words_only_and_always_alike() -> None:
    talks = read_transcripts(SHIPPED.parent / "transcripts").conversations[:60]
    made = augmented(talks, 2, 7)
    assert len(made) == 180
    assert made == augmented(talks, 2, 7)
    assert made != augmented(talks, 2, 8)
    assert [talk.id for talk in made[:3]] == [talks[0].id, f"{talks[0].id}+1", f"{talks[0].id}+2"]
    changed = 0
    for number, talk in enumerate(made):
        first = talks[number // 3]
        assert talk.labels == first.labels
        for before, after in zip(first.messages, talk.messages, strict=True):
            assert re.findall(r"\d+|\[\w+\]", before.content) == re.findall(r"\d+|\[\w+\]", after.content)
            assert before.role == "user" or before == after
            changed += before != after
    assert changed > 60
    assert augmented(talks, 0, 7) == list(talks)


def replies(material: Material) -> int:
    return sum(len(row.exchanges) for row in material.training)


async def test_what_judges_is_never_a_copy(recipe: Path, desk: Desk) -> None:
    prompt, tokenizer = desk.prompts.get("support@1"), load_tokenizer(desk.base)
    folder = recipe.parent / "transcripts"
    material = await gather(folder, read_recipe(recipe, ["augment=2"]), prompt, desk, tokenizer, Quiet())
    plain = await gather(folder, read_recipe(recipe), prompt, desk, tokenizer, Quiet())
    assert material.held_out == plain.held_out
    assert replies(material) == 3 * replies(plain)
    assert material.conversations == plain.conversations
