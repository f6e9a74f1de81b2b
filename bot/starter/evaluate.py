"""Measures a model: right facts, refusals, obedience, labels, recall, loops (B1–B8 of the starter's table).

Contract: `evaluate(model, …)` takes a checkpoint or an exported folder and gives every measure with its count and 95 %
interval. Replies are greedy; labels are scored by likelihood, less the score of the same label for an empty message.
Items are cached in the work folder: delete `items-*.json` after changing wordings or threshold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from bot.engine.local.sampling import banned
from bot.starter.export import load_checkpoint
from bot.starter.items import Item, make_items
from bot.starter.report import results
from bot.starter.said import does_not_know, offers_a_person, states
from bot.starter.tokens import open_tokenizer, wrap
from bot.starter.wordings import load

GUARD = 5
"""`no_repeat_ngram_size` of the demo's prompts."""
_SAMPLED = 500
"""Replies that are drawn at a temperature, for loops."""
_REASONING = re.compile(r"<think>.*?(</think>|$)", re.S)
"""What the desk never shows."""


def open_model(path: Path, work: Path, adapter: Path | None = None) -> tuple[Any, Any]:
    """The model and its tokenizer, from a checkpoint file or an exported folder, with an adapter on it."""
    if adapter:
        model, tokenizer = open_model(path, work)
        model.load_adapter(str(adapter))
        return model, tokenizer
    if path.is_file():
        return load_checkpoint(path).to(torch.bfloat16), wrap(open_tokenizer(work / "tokenizer"))
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)


def prompt_ids(tokenizer: Any, messages: Sequence[dict[str, str]]) -> list[int]:
    """The prompt's ids."""
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@torch.inference_mode()
def replies(
    model: Any, tokenizer: Any, items: Sequence[Item], temperature: float = 0.0, guard: int = 0, batch: int = 32
) -> list[str]:
    """Replies in the order of the items; temperature 0 is greedy, `guard` the desk's `no_repeat_ngram_size`."""
    torch.manual_seed(0)
    how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    prompts = [prompt_ids(tokenizer, item["messages"]) for item in items]
    order = sorted(range(len(items)), key=lambda place: len(prompts[place]))
    found = [""] * len(items)
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        width = max(len(prompts[place]) for place in places)
        ids = torch.tensor([[0] * (width - len(prompts[place])) + prompts[place] for place in places])
        seen = torch.tensor([[0] * (width - len(prompts[place])) + [1] * len(prompts[place]) for place in places])
        out = model.generate(input_ids=ids, attention_mask=seen, max_new_tokens=80, pad_token_id=0, eos_token_id=2,
                             logits_processor=[Guard(width, guard)] if guard else None, **how)  # fmt: skip
        for place, row in zip(places, out, strict=True):
            said = tokenizer.decode(row[width:].tolist(), skip_special_tokens=True)
            # The desk takes reasoning out only where the prompt asks for it.
            found[place] = (_REASONING.sub("", said) if items[place]["role"].get("think") else said).strip()
    return found


class Guard:
    """The desk's repetition guard for plain transformers, whose own would count the prompt."""

    def __init__(self, prompt: int, size: int) -> None:
        self._prompt, self._size = prompt, size

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for row, tokens in enumerate(ids[:, self._prompt :].tolist()):
            scores[row, list(banned(tokens, self._size))] = -torch.inf
        return scores


def refuses(reply: str, role: dict[str, Any]) -> bool:
    """True if the reply says that it does not know, in any words or in those of its role."""
    return does_not_know(reply) or role.get("unknown", "\0") in reply


def loops(reply: str) -> bool:
    """True if some four words come three times."""
    words = reply.split()
    fours = [tuple(words[place : place + 4]) for place in range(len(words) - 3)]
    return any(fours.count(four) >= 3 for four in set(fours))


def judge(item: Item, reply: str, marks: dict[str, list[str]]) -> Iterator[tuple[str, bool]]:
    """Every measure that an item bears on, with its outcome."""
    name, role, where = item["measure"], item["role"], item["set"]
    right = all(states(reply, fact) for fact in item.get("facts", [])) and bool(item.get("facts"))
    wrong = any(states(reply, fact) for fact in item.get("wrong", []))
    yield "loops", loops(reply)
    if not role.get("think"):
        yield "reasons though nobody asked", "<think>" in reply
    if name == "B1 plain":
        yield f"B1 right fact, no wrong one, passage not named first, {where}", right and not wrong
    if name in ("B1", "B1b"):
        yield f"{name} right fact, no wrong one, {where}", right and not wrong
        yield f"{name} another passage's fact, {where}", wrong
        if item["retrieved"]:
            yield f"{name} given the passage is shown, {where}", right and not wrong
        if name == "B1":
            yield f"B2 refused, the passage shown or not, {where}", refuses(reply, role)
            if item["retrieved"]:
                yield f"B2 answerable question refused, {where}", refuses(reply, role)
            yield f"retriever shows the passage, {where}", item["retrieved"]
            yield f"retriever puts it first, {where}", item["first"]
    if name == "B3":
        says_so = refuses(reply, role) and offers_a_person(reply) and not wrong
        yield f"B3 says so and offers a person, {where}", says_so
        yield f"B3 with {'stray' if item['shown'] else 'no'} passages, {where}", refuses(reply, role)
    if name == "B6":
        yield f"B6 recall, {where}", right
    if name.startswith("B4"):
        for want in item["want"]:
            yield f"B4 {_CALLED.get(want, 'tone')}", obeys(want, role, reply, marks)


_CALLED = {"company": "company", "name": "agent name", "sign": "sign-off", "opening": "opening", "short": "length"}


def obeys(want: str, role: dict[str, Any], reply: str, marks: dict[str, list[str]]) -> bool:
    """True if a reply does what one instruction asks; a name of a tone stands for that tone."""
    if want == "company":
        return role["company"] in reply
    if want == "name":
        return role["agent"] in reply
    if want == "sign":
        return reply.endswith(role["sign"])
    if want == "opening":
        return reply.startswith(role["opening"])
    if want == "short":
        body = reply.removesuffix(role.get("sign", "")).strip()
        return bool(body) and len(re.split(r"(?<=[.!?])\s+(?=[A-Z])", body)) == 1
    return any(mark in reply for mark in marks[want])


def judge_pairs(items: Sequence[Item], said: Sequence[str], marks: dict[str, list[str]]) -> list[bool]:
    """B7: for every pair of roles, whether both replies do all that their own role asks."""
    pairs: dict[int, bool] = {}
    for item, reply in zip(items, said, strict=True):
        if "pair" in item:
            own = all(obeys(want, item["role"], reply, marks) for want in item["want"])
            pairs[item["pair"]] = pairs.get(item["pair"], True) and own
    return list(pairs.values())


@torch.inference_mode()
def label_right(model: Any, tokenizer: Any, item: Item) -> bool:
    """True if the right label gains most from the message."""
    empty = [*item["messages"][:-1], {"role": "user", "content": "..."}]
    scores = []
    for messages in (item["messages"], empty):
        prompt = prompt_ids(tokenizer, messages)
        tails = [[*tokenizer(label, add_special_tokens=False)["input_ids"], 2] for label in item["labels"]]
        width = max(map(len, tails))
        ids = torch.tensor([prompt + tail + [0] * (width - len(tail)) for tail in tails])
        logits = model(input_ids=ids).logits[:, len(prompt) - 1 : -1].float().log_softmax(-1)
        chosen = logits.gather(2, ids[:, len(prompt) :, None])[..., 0]
        scores.append([float(chosen[row, : len(tail)].sum()) for row, tail in enumerate(tails)])
    gains = [full - null for full, null in zip(*scores, strict=True)]
    return bool(item["labels"][gains.index(max(gains))] == item["label"])


def cached_items(work: Path, data: Path | None, count: int) -> list[Item]:
    """The items, made once."""
    path = work / f"items-{count}.json"
    if not path.exists():
        path.write_text(json.dumps(make_items(work / "bank", data, count)))
    return list(json.loads(path.read_text()))


def evaluate(
    path: Path, work: Path, data: Path | None, count: int, only: Sequence[str] = (), threads: int = 2,
    adapter: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """All measures of a model, bare or with an adapter on; `only` keeps those named, without the loops at a temperature."""
    torch.set_num_threads(threads)
    model, tokenizer = open_model(path, work, adapter)
    marks = load().sheet("roles")["tone_marks"]
    wanted = tuple(name for name in only if name)
    items = [item for item in cached_items(work, data, count) if not wanted or item["measure"] in wanted]
    if not items:
        names = sorted({item["measure"] for item in cached_items(work, data, count)})
        raise SystemExit(f"--only {','.join(only)} names no measure; there are: {', '.join(names)}.")
    talking = [item for item in items if not item["measure"].startswith("B5")]
    said = replies(model, tokenizer, talking)
    outcomes: dict[str, list[bool]] = {}
    for item, reply in zip(talking, said, strict=True):
        for name, outcome in judge(item, reply, marks):
            outcomes.setdefault(name, []).append(outcome)
    outcomes["B7 each of two roles obeyed"] = judge_pairs(talking, said, marks)
    if not wanted:
        some = talking[:: max(1, len(talking) // _SAMPLED)][:_SAMPLED]
        for name, guard in (("B8 loops at T = 0.7", GUARD), ("B8 loops at T = 0.7, no guard", 0)):
            sampled = replies(model, tokenizer, some, temperature=0.7, guard=guard)
            outcomes[name] = [loops(reply) for reply in sampled]
    for item in items:
        if item["measure"].startswith("B5"):
            outcomes.setdefault(item["measure"], []).append(label_right(model, tokenizer, item))
    samples = [{"measure": item["measure"], "set": item["set"], "facts": item.get("facts"), "reply": reply,
                "messages": item["messages"]} for item, reply in zip(talking, said, strict=True)]  # fmt: skip
    measured = {name: found for name, found in outcomes.items() if found}
    found = results(measured, f"python -m bot.starter evaluate --model {path.name} --items {count}")
    return found | {"samples": samples[:: max(1, len(samples) // 60)]}
