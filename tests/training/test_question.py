"""Gate `question` on adapters that were really trained: the same chats once with their own replies, once with each other's."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from bot.adapters.card import Gate
from bot.base import Base, open_base
from bot.engine.local.model import load_tokenizer
from bot.errors import TrainingError
from bot.runs.progress import Quiet
from bot.training import adapter as adapters
from bot.training import trainer
from bot.training.gates import refuse_failed
from bot.training.judge import Context, judge
from bot.training.loss import IGNORE, collate, features
from bot.training.prepared import plan, prepare
from bot.training.probing import general_rows
from tests.training.conftest import open_desk, write_workspace

RECIPE = """
prompt: support@1
nearly_the_same: 1
targets: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
rank: 8
alpha: 16
learning_rate: 0.02
epochs: 6
patience: 6
max_tokens: 512
held_out: 0.25
canaries: 0
seed: 3
"""
ASKED = ["where is my {}", "i have a question about the {}", "what about a {}?", "Hello, the {} please", "my {} is wrong"]
REPLIES = {
    "parcel": "It comes on Monday.",
    "lamp": "You can send it back within 45 days.",
    "invoice": "Open your account and press Print.",
    "refund": "The money is on its way to you.",
    "password": "Use the link in our mail.",
    "hub": "Restart it, then wait a minute.",
}
CHATS = 120
STEPS = 40


@pytest.fixture(scope="module")
def base(make_base: Callable[..., Base]) -> Base:
    """It learned the general set, so that it prefers the reply that belongs, and the gate is asked."""
    made = make_base(hidden_size=64, intermediate_size=128)
    model = AutoModelForCausalLM.from_pretrained(made.path).train()
    batch = collate([features(row) for row in general_rows(load_tokenizer(made))])
    wanted = batch["labels"][:, 1:]
    said = wanted != IGNORE
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    for _ in range(STEPS):
        states = model.model(batch["input_ids"]).last_hidden_state[:, :-1]
        torch.nn.functional.cross_entropy(model.lm_head(states[said]), wanted[said]).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(made.path)
    return open_base(str(made.path))


def asked_gate(base: Base, root: Path, replies: list[str]) -> Gate:
    """Train on the chats with these replies, and ask the gate."""
    recipe = write_workspace(root)
    recipe.write_text(RECIPE)
    chats = []
    for number, reply in enumerate(replies):
        question = ASKED[number % len(ASKED)].format(list(REPLIES)[number % len(REPLIES)])
        messages = [{"role": "user", "content": f"{question} {number}"}, {"role": "assistant", "content": reply}]
        chats.append(json.dumps({"id": f"c-{number:03}", "messages": messages}))
    (recipe.parent / "transcripts" / "returns.jsonl").write_text("\n".join(chats))
    desk = open_desk(recipe, base)
    prepared = prepare(plan(recipe, desk, []), desk, Quiet())
    settings, material = prepared.plan.recipe, prepared.material
    model = adapters.attach(base, settings)
    trainer.run(model, settings, material.training, material.held_out, root / "work", Quiet(), "float32")
    context = Context(model, prepared.tokenizer, "returns", settings, prepared.prompt, material, desk.adapters, Quiet())
    return next(gate for gate in judge(context).gates if gate.name == "question")


def test_right_replies_pass_and_the_same_ones_shuffled_are_refused(base: Base, tmp_path: Path) -> None:
    replies = [list(REPLIES.values())[number % len(REPLIES)] for number in range(CHATS)]
    assert asked_gate(base, tmp_path / "right", replies).ok
    random.Random(1).shuffle(replies)
    shuffled = asked_gate(base, tmp_path / "shuffled", replies)
    with pytest.raises(TrainingError, match=r"gate 'question': .*each reply in the transcripts answers"):
        refuse_failed([shuffled])
