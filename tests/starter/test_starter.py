"""The starter base's making: a reproducible corpus, honest held-out wordings, a working circuit, a plain export."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from bot.starter.choosing import Signs
from bot.starter.circuit import install_circuits
from bot.starter.corpus import EVALUATION_SEED, World
from bot.starter.labels import is_held
from bot.starter.loose import Loose, neighbours
from bot.starter.meaning import Encoder
from bot.starter.model import Shape, Starter
from bot.starter.packing import LENGTHS, pack
from bot.starter.ranking import build
from bot.starter.tokens import BOS, CHOICE, END, OWN_NUMBER, QUESTION, SPEAKERS, VOTE, encode, train_tokenizer, wrap
from bot.starter.wordings import Synonyms, choose, load, part, readings

NO_LOOK = torch.zeros((1, 1, 4), dtype=torch.long)
TINY = Shape(vocabulary=1024, hidden=192, layers=4, heads=4, feed=128)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products on several threads mostly wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world() -> World:
    """All wordings, with random meanings in place of MiniLM's."""
    wordings = load()
    return World(wordings, build(wordings, None), {}, None)


def test_patterns_are_read_as_written() -> None:
    rng = random.Random(1)
    assert set(readings("[a|b] c[ d|]", 9, rng)) == {"a c d", "a c", "b c d", "b c"}
    assert choose("when [is|was] it [due|] ?", rng).endswith("?")
    assert Synonyms([["big", "large"]]).swap("a big {big}", rng, 1.0) in ("a big {big}", "a large {big}")


def test_same_seed_gives_the_same_document(world: World) -> None:
    def texts(seed: int) -> list[list[dict[str, str]]]:
        return [world.document(seed, number).messages() for number in range(60)]

    assert texts(5) == texts(5)
    assert texts(5) != texts(6)


def test_a_question_said_loosely_keeps_its_values() -> None:
    loose = Loose({"cancel": ["cancelling", "terminate"], "order": ["ordering"]}, {"do", "i", "my", "of", "a", "at"})
    text = "how do I cancel my order of a Brenwick at ada@mail.example for $4.50"
    said = [loose.say(text, random.Random(seed)) for seed in range(300)]
    assert 130 < said.count(text) < 260
    assert len(set(said)) > 40
    for value in ("Brenwick", "ada@mail.example", "$4.50"):
        assert all(value in other for other in said)
    assert any("terminate my" in other for other in said)
    carrying = [
        sum(any(word.startswith(stem) for word in other.split()) for stem in ("cancel", "termin", "order")) for other in said
    ]
    assert min(carrying) >= 1, "something of what is asked is left"
    assert sum(count == 2 for count in carrying) > 270, "and nearly always all of it"
    assert {len(other.split()) for other in said} <= set(range(6, 15)), "nothing is added, and half stays"


def test_near_words_are_words_of_like_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.starter.loose._COMMON", 2000)
    loose = neighbours(["refund the bill", "the bill is refunded", "I refund it", "refunded bill"], Encoder(), ["the"])
    assert "refunded" in loose.near["refund"]
    assert "the" not in loose.near
    assert "bill" not in loose.near.get("refund", ())


def test_only_training_says_questions_loosely(world: World) -> None:
    loose = dataclasses.replace(world, loose=Loose({"how": ["howsoever"]}, ()))

    def asked(source: World) -> list[str]:
        documents = [source.document(4, number) for number in range(100)]
        return [turn.text for document in documents for turn in document.turns if turn.speaker == "user"]

    assert any("howsoever" in text for text in asked(loose))
    assert not any("howsoever" in text for text in asked(world))
    assert loose.support(loose.values(1, 1)).loose is None


def test_every_wording_can_be_filled(world: World) -> None:
    for fact in world.wordings.facts:
        assert fact.facts or not (fact.slots or fact.reply), fact.id
        values = world.values(1, 1).fill_slots(fact.slots)
        assert all(values.values()), fact.id
    for number in range(150):
        for turn in world.document(3, number).turns:
            assert "{" not in turn.text.replace("{}", ""), turn.text


def test_held_out_wordings_and_topics_never_train(world: World) -> None:
    held = [fact for facts in world.wordings.topics("held").values() for fact in facts]
    trained = [fact for facts in world.wordings.topics("train").values() for fact in facts]
    assert held
    assert not {fact.topic for fact in held} & {fact.topic for fact in trained}
    for fact in trained:
        if len(fact.ask) > 2:
            assert not set(fact.wordings("ask", "train")) & set(fact.wordings("ask", "held")), fact.id
        assert not set(fact.more_ask) & set(fact.ask), fact.id
    assert part(["a", "b", "c"], "k", "train") != part(["a", "b", "c"], "k", "held")
    sheet = world.wordings.sheet("roles")
    held_roles = [wording for key in ("grounding", "one_sentence", "think") for wording in part(sheet[key], key, "held")]
    frames = [frame for frame in (re.split(r"[\[{]", wording)[0] for wording in held_roles) if len(frame) > 12]
    texts = [world.document(9, number).turns[0].text for number in range(300)]
    assert frames
    assert not [text for text in texts for frame in frames if frame in text]
    assert is_held("label") == is_held("label")


def test_training_refuses_the_evaluation_seed(world: World) -> None:
    with pytest.raises(ValueError, match="evaluation"):
        world.document(EVALUATION_SEED, 0)


def test_marks_make_facts_weigh_more(world: World) -> None:
    documents = [world.document(2, number) for number in range(80)]
    tokenizer = train_tokenizer((turn.text for document in documents for turn in document.turns), 1024)
    encoded = encode(documents, tokenizer)
    assert max(document.weights.max() for document in encoded) > 40
    packed = pack(encoded)
    assert {rows.ids.shape[1] for rows in packed} <= set(LENGTHS)
    taught = sum(int((rows.weights > 0).sum()) for rows in packed)
    assert taught == sum(int((document.weights[1:] > 0).sum()) for document in encoded if len(document.ids) <= LENGTHS[-1])
    assert (packed[0].documents >= 0).mean() > 0.7
    assert wrap(tokenizer).apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == (
        "<|bos|><|user|>hi<|end|>"
    )


def test_choices_point_from_before_the_choice_to_the_passage(world: World) -> None:
    documents = [world.document(2, number) for number in range(120)]
    tokenizer = train_tokenizer((turn.text for document in documents for turn in document.turns), 1024)
    encoded, checked = encode(documents, tokenizer), 0
    for rows in pack(encoded):
        for row, kind, place, first, last in rows.looks:
            ids = rows.ids[row]
            if kind == OWN_NUMBER:
                assert tokenizer.decode(ids[first:last].tolist()).isdigit()
                assert first < place
            elif kind == QUESTION:
                assert first < last <= place
            elif kind == VOTE:
                assert any(tuple(look[3:]) == (first, last) for look in rows.looks if look[0] == row and look[1] == CHOICE)
            elif ids[first] == BOS:
                assert last - first == 1
            else:
                passage = tokenizer.decode(ids[first:last].tolist()).strip()
                said = tokenizer.decode(ids[place + 1 : place + 60].tolist()).strip()
                number = re.match(r"(\d)(</|$)", said)
                head = tokenizer.decode(ids[:first].tolist())
                assert not number or re.findall(r"(?m)^[\[(]?(\d)[\]).]", head)[-1] == number[1], (said, passage)
                checked += 1
    assert checked > 20


def test_a_decimal_is_two_tokens_so_that_its_point_is_no_full_stop(world: World) -> None:
    texts = [turn.text for number in range(60) for turn in world.document(2, number).turns]
    tokenizer = train_tokenizer(texts, 1024)
    assert tokenizer.encode("39.37", add_special_tokens=False).tokens == ["39", ".37"]
    assert tokenizer.decode(tokenizer.encode("It costs $39.37 at 14:30. Ref 482-913.").ids) == (
        "It costs $39.37 at 14:30. Ref 482-913."
    )


def test_the_circuit_copies_before_any_training() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(3)
    segment = torch.randint(16, TINY.vocabulary, (4, 60), generator=generator)
    between = torch.randint(16, TINY.vocabulary, (4, 30), generator=generator)
    ids = torch.cat([segment, between, segment], 1)

    @torch.no_grad()
    def repeat_loss(model: Starter) -> float:
        hidden, _ = model(ids, torch.zeros_like(ids), NO_LOOK, torch.float32)
        logits = F.linear(hidden, model.embedding)[:, 91:-1]
        return float(F.cross_entropy(logits.reshape(-1, TINY.vocabulary), ids[:, 92:].reshape(-1)))

    model = Starter(TINY)
    without = repeat_loss(model)
    install_circuits(model)
    assert without > 6.5
    assert repeat_loss(model) < 5.5


def test_the_words_of_a_question_vote_for_a_passage_before_any_training() -> None:
    torch.manual_seed(0)
    signs = Signs(tuple(range(20, 29)), 30, 31, 32)
    model = Starter(dataclasses.replace(TINY, layers=6))
    install_circuits(model, signs=signs)
    generator, right = torch.Generator().manual_seed(5), 0
    for number in range(12):
        words = torch.randperm(900, generator=generator)[:48].view(4, 12) + 100
        wanted = number % 4
        passages = [[32, signs.numbers[place], 33, *words[place].tolist()] for place in range(4)]
        question = words[wanted, torch.randperm(12, generator=generator)[:3]].tolist()
        ids = [
            BOS,
            SPEAKERS["system"],
            *chain.from_iterable(passages),
            END,
            SPEAKERS["user"],
            98,
            *question,
            99,
            END,
            SPEAKERS["assistant"],
        ]
        with torch.no_grad():
            hidden, _ = model(torch.tensor([ids]), torch.zeros(1, len(ids), dtype=torch.int32), NO_LOOK, torch.float32)
            logits = hidden[0, -1] @ model.embedding[list(signs.numbers)].T
        right += int(logits.argmax()) == wanted
    assert right >= 10


def test_documents_in_one_row_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    model = Starter(TINY)
    ids = torch.randint(16, TINY.vocabulary, (1, 40))
    numbers = torch.tensor([[0] * 20 + [1] * 20])
    with torch.no_grad():
        joint = model(ids, numbers, NO_LOOK, torch.float32)[0][:, 20:]
        changed = ids.clone()
        changed[:, :20] = 17
        assert torch.allclose(joint, model(changed, numbers, NO_LOOK, torch.float32)[0][:, 20:])


def test_export_is_a_plain_llama(tmp_path: Path, world: World) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from bot.starter.export import export
    from bot.starter.train import Run, Settings

    documents = [world.document(2, number) for number in range(40)]
    tokenizer = train_tokenizer((turn.text for document in documents for turn in document.turns), 1024)
    wrap(tokenizer).save_pretrained(tmp_path / "tokenizer")
    shape = dataclasses.replace(TINY, vocabulary=tokenizer.get_vocab_size())
    model = Starter(shape)
    install_circuits(model)
    run = Run(model, Settings(out=tmp_path, tokens=10**6, compiled=False))
    rows = pack(encode(documents[:10], tokenizer))[0]
    before = float(run.step(rows))
    for _ in range(3):
        run.step(rows)
    assert float(run.step(rows)) < before
    run.save()
    resumed = Run.resume(Settings(out=tmp_path, tokens=10**6, compiled=False))
    assert resumed is not None
    assert resumed.progress == run.progress
    export(tmp_path / "checkpoint.pt", tmp_path / "tokenizer", tmp_path / "starter")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "starter", dtype=torch.float32)
    ids = AutoTokenizer.from_pretrained(tmp_path / "starter")("hello there", return_tensors="pt")["input_ids"]
    ours = Starter(shape)
    ours.load_state_dict({name: value.to(torch.bfloat16).float() for name, value in run.average.items()})
    with torch.no_grad():
        logits = F.linear(ours(ids, torch.zeros_like(ids), NO_LOOK, torch.float32)[0], ours.embedding)
        assert torch.allclose(loaded(ids).logits, logits, atol=1e-3)
