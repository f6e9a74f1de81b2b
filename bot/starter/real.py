"""Real text for breadth: task dialogues, open chats, questions with answers, from the data folder.

Contract: `read` loads the files once; `RealMaker.make` gives one document. Values that an agent's reply brings in are
listed as records in the system message, so that its replies are grounded. Real company names are replaced.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.starter.documents import Choice, Document, Turn, reply, system, user
from bot.starter.support import SupportMaker
from bot.starter.wordings import Wordings, fill, stable_hash

_RECORD = re.compile(r"\b[A-Z][\w'&]*(?: (?:of|and|the|[A-Z0-9][\w'&]*))* ?(?:\d[\d:\-]*)?|[$£€]?\b\d[\w.,:\-@]*")
_COMPANIES = re.compile(r"\b(Amazon(\.in| India|\.com)?|Flipkart|Myntra|Snapdeal|eBay|Walmart|Ajio|Nykaa)\b", re.I)
_HONORIFIC = re.compile(r"(^|,? )(Sir/Madam|sir/madam|Sir/Ma'am)\b,?")
_MAX_CHARACTERS = 700
_SHARE = {"sgd": 0.45, "star": 0.15, "cucom_ecommerce": 0.2, "topical_chat": 0.06, "multiwoz21": 0.06, "tm4": 0.02,
          "woz": 0.03, "camrest": 0.03}  # fmt: skip


@dataclass(frozen=True)
class RealText:
    """What the data folder holds: dialogues per source, places with their questions, passages with theirs."""

    dialogues: dict[str, list[list[tuple[str, str]]]]
    places: list[tuple[str, list[tuple[str, str]]]]
    passages: list[tuple[str, list[str], list[tuple[str, str]]]]


def read(data: Path) -> RealText:
    """Read the data folder's training part: dialogues are split by a stable hash of their id, nine in ten train."""
    dialogues = {}
    for source in _SHARE:
        path = data / "dialogues" / f"{source}.jsonl.gz"
        with gzip.open(path, "rt") as file:
            rows = [json.loads(line) for line in file]
        kept = [_merge(row["turns"]) for row in rows if stable_hash(str(row["id"])) % 10]
        dialogues[source] = [turns for turns in kept if len(turns) > 1]
    return RealText(dialogues, _read_places(data), _read_passages(data))


def _merge(turns: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    first = turns[0]["role"] if turns[0]["role"] != "agent" else "user"
    merged: list[tuple[str, str]] = []
    for turn in turns:
        speaker = "user" if turn["role"] in ("user", first) else "assistant"
        text = _detokenise(turn["text"])
        if merged and merged[-1][0] == speaker:
            merged[-1] = (speaker, f"{merged[-1][1]} {text}")
        elif text and (merged or speaker == "user"):
            merged.append((speaker, text))
    return merged[:-1] if merged and merged[-1][0] == "user" else merged


def _detokenise(text: str) -> str:
    text = re.sub(r"\s+", " ", _HONORIFIC.sub("", text)).strip()
    text = re.sub(r" ([.,!?;:)])", r"\1", text)
    return re.sub(r" (n't|'s|'re|'ll|'ve|'d|'m)\b", r"\1", text)


def _read_places(data: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    with gzip.open(data / "knowledge" / "dstc9_faq.json.gz", "rt") as file:
        domains = json.load(file)
    found = []
    for domain, places in sorted(domains.items()):
        for place in places.values():
            pairs = [(doc["title"], doc["body"]) for doc in place["docs"].values()]
            if len(pairs) > 2:
                found.append(((place["name"] or domain).title(), pairs))
    return found


def _read_passages(data: Path) -> list[tuple[str, list[str], list[tuple[str, str]]]]:
    with gzip.open(data / "knowledge" / "xquad.en.json.gz", "rt") as file:
        articles = json.load(file)["data"]
    found = []
    for article in articles:
        for paragraph in article["paragraphs"]:
            sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph["context"])
            pairs = []
            for question in paragraph["qas"]:
                answer = question["answers"][0]["text"]
                holders = [sentence for sentence in sentences if answer in sentence and len(sentence) < 300]
                if holders:
                    pairs.append((question["question"], holders[0]))
            if pairs:
                found.append((article.get("title", "Passage").replace("_", " "), sentences, pairs))
    return found


class RealMaker:
    """Writes documents of real text; borrows roles and layout from a `SupportMaker`."""

    def __init__(self, wordings: Wordings, text: RealText, support: SupportMaker) -> None:
        self.text, self.support, self.values = text, support, support.values
        self.sheet: Any = wordings.sheet("layout")

    def dialogue(self) -> Document:
        """A task dialogue or an open chat."""
        values = self.values
        source = values.rng.choices(list(_SHARE), list(_SHARE.values()))[0]
        company = values.company()
        turns = [(speaker, _COMPANIES.sub(company, text)) for speaker, text in values.pick(self.text.dialogues[source])]
        turns = self._cut(turns)
        head = self._chat_head() if source == "topical_chat" else self._service_head(company, turns)
        document: list[Turn] = [system(head)] if head else []
        for speaker, text in turns:
            if speaker == "user":
                document.append(user(text, weight=0.1))
            else:
                document.append(reply(text, [(value, 2.0, 1.5) for value in self._records(turns)], weight=0.5))
        return Document("dialogue", document)

    @staticmethod
    def _cut(turns: list[tuple[str, str]]) -> list[tuple[str, str]]:
        kept: list[tuple[str, str]] = []
        for turn in turns:
            if sum(len(text) for _, text in kept) + len(turn[1]) > _MAX_CHARACTERS and len(kept) >= 2:
                break
            kept.append(turn)
        return kept[: len(kept) // 2 * 2]

    def _chat_head(self) -> str:
        return str(self.values.pick(self.sheet["chat_roles"]))

    def _service_head(self, company: str, turns: Sequence[tuple[str, str]]) -> str:
        values = self.values
        words = {"co": company, "ag": values.first_name(), "what": values.pick(self.sheet["services"])}
        head = fill(values.pick(self.sheet["service_roles"]), words)
        records = self._records(turns)
        values.rng.shuffle(records)
        if records and values.chance(0.9):
            joint = values.pick(["\n- ", "; ", "\n"])
            head += f"\n\n{values.pick(self.sheet['records'])} " + joint.join(records)
        return head

    @staticmethod
    def _records(turns: Sequence[tuple[str, str]]) -> list[str]:
        seen, found = "", []
        for speaker, text in turns:
            if speaker == "assistant":
                for match in _RECORD.finditer(text):
                    value = match.group(0).strip(" .,")
                    new = value.lower() not in seen.lower() and value not in found
                    if len(value) > 1 and match.start() > 0 and new:
                        found.append(value)
            seen += " " + text
        return found[:12]

    def answered(self) -> Document:
        """A real question over a place or a passage, in the desk's layout."""
        values = self.values
        if values.chance(0.8):
            name, pairs = values.pick(self.text.places)
            question, answer = values.pick(pairs)
            others = [body for _, body in pairs if body != answer]
            titles, head = name, values.pick(self.sheet["faq_roles"])
            company = name
        else:
            titles, sentences, pairs = values.pick(self.text.passages)
            question, answer = values.pick(pairs)
            others = [sentence for sentence in sentences if sentence != answer and len(sentence) < 300]
            company, head = values.company(), values.pick(self.sheet["passage_roles"])
        return self._faq(head, company, titles, question, answer, others)

    def matching(self) -> Document:
        """Real questions about a place or a passage, each answered by the number of what answers it."""
        values = self.values
        if values.chance(0.85):
            title, pairs = values.pick(self.text.places)
        else:
            title, _, pairs = values.pick(self.text.passages)
        drawn = values.rng.sample(list(dict.fromkeys(pairs)), min(len(set(pairs)), values.number(4, 8)))
        shown = list(dict.fromkeys(answer for _, answer in drawn))[: values.number(3, 6)]
        asked = [(question, shown.index(answer) + 1 if answer in shown else 0) for question, answer in drawn]
        return self.support.numbered([(title, answer) for answer in shown], [(q.rstrip("?"), number) for q, number in asked])

    def _faq(self, head: str, company: str, title: str, question: str, answer: str, others: list[str]) -> Document:
        values = self.values
        shown = values.rng.sample(others, min(len(others), values.pick([0, 1, 2, 2])))
        known = values.chance(0.9)
        if known:
            shown.insert(0 if values.chance(0.75) else values.number(0, len(shown)), answer)
        layout = self.sheet["desk"]
        items = [layout["item"].format(i=place, title=title, text=text) for place, text in enumerate(shown, 1)]
        block = "\n".join([layout["header"], *items]) if shown else layout["none"]
        role = fill(head, {"co": company, "ag": values.first_name()})
        text = answer if known else values.pick(self.support.talk["refusals"])
        asked = question if values.chance(0.5) else self.support.typed(question.rstrip("?"))
        choice = Choice(0, answer if known else "") if shown else None
        turns = [system(f"{role}\n\n{block}"), user(asked), reply(text, [(text, 4.0, 1.2)], choice=choice)]
        return Document("faq", turns)
