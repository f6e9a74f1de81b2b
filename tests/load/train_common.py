"""What the parts of `train.py` share: a workspace with a number of chats, and rows made of them as training makes them."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bot.base import STARTER
from bot.desk import Desk
from bot.runs.progress import Quiet
from bot.settings import load
from bot.skeleton import SOURCE
from bot.training.prepared import Prepared, plan, prepare
from bot.training.split import split
from bot.training.transcripts import read_transcripts

TARGETS = "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]"
ROLE = (
    "You are the support agent of an online shop. Answer in one to three short sentences. Be polite, say what you will do,"
    " and ask for what you need. Do not guess."
)


@dataclass(frozen=True)
class Bench:
    """`chats` is a file of conversations, a line each, ordered by the hash of their ids."""

    folder: Path
    chats: Path

    def workspace(self, name: str, first: int, count: int, **keys: object) -> Path:
        """A workspace with those chats → its recipe, with `keys` over what all runs share."""
        root = self.folder / name
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(SOURCE, root)
        prompt = root / "prompts" / "support" / "v1.yaml"
        prompt.write_text(
            f'technique: zero-shot\nrole: "{ROLE}"\nauthor: Switchboard\nnote: For measuring.\ndate: 2026-11-27\n'
        )
        transcripts = root / "adapters" / "shop" / "transcripts"
        transcripts.mkdir(parents=True)
        lines = self.chats.read_text(encoding="utf-8").splitlines()[first : first + count]
        (transcripts / "chats.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        given = {
            "prompt": "support@1", "targets": TARGETS, "rank": 8, "alpha": 16, "learning_rate": 0.001, "epochs": 1,
            "batch_size": 8, "max_tokens": 1024, "seed": 1,
        } | keys  # fmt: skip
        recipe = transcripts.parent / "recipe.yaml"
        recipe.write_text("".join(f"{key}: {value}\n" for key, value in given.items()))
        return recipe


def examples(recipe: Path, desk: Desk, count: int) -> list[dict[str, str]]:
    """For a few-shot prompt: whole first exchanges of the conversations that the recipe trains on."""
    planned = plan(recipe, desk, []).recipe
    found = read_transcripts(recipe.parent / planned.data, planned.scrub, planned.nearly_the_same).conversations
    firsts = [one.messages[:2] for one in split(found, planned.held_out)[0]]
    shown = [pair for pair in firsts if [message.role for message in pair] == ["user", "assistant"]][:count]
    return [{"customer": asked.content, "agent": said.content, "source": "training chats"} for asked, said in shown]


def desk_of(recipe: Path, base: str = str(STARTER)) -> Desk:
    return Desk(load(workspace=recipe.parents[2], base=base, dtype="float32", threads=os.cpu_count() or 1))


def prepared(recipe: Path, desk: Desk) -> Prepared:
    return prepare(plan(recipe, desk, []), desk, Quiet())
