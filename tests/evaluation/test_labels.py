"""Labels by a head, by prompts and by baselines: the held-out messages of training, each way as it would be used, failures
told."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bot.base import Base
from bot.desk import Desk
from bot.engine.local.engine import LocalEngine
from bot.engine.scripted import ScriptedEngine
from bot.evaluation.label_ways import known_messages
from bot.evaluation.labellers import Prompted, make_pool, spread, words
from bot.evaluation.labels import interval, label_tasks
from bot.evaluation.results import LabelArm
from bot.evaluation.statistics import FEWEST
from bot.prompts.schema import Prompt, parse_prompt
from bot.runs.progress import Quiet
from bot.training.labelled import Labelled
from bot.training.train import train
from bot.types import Message, Mix
from tests.conftest import ROOT, WordEmbedder
from tests.training.test_classifier import open_desk, row, write_workspace
from tests.training.test_train import Ear

ARMS = [
    "fine-tuned head",
    "zero-shot prompt",
    "few-shot prompt",
    "frozen encoder and logistic regression",
    "TF-IDF and logistic regression",
    "the most frequent label",
]
MESSAGES = [
    Labelled("a", "where is my refund", "refund_status"),
    Labelled("a", "and my money", "refund_status"),
    Labelled("b", "where is my parcel {x}", "delivery"),
    Labelled("c", "thanks a lot", "other"),
    Labelled("d", "the parcel is late", "delivery"),
]
LABELS = ("delivery", "other", "refund_status")


def make_desk(folder: Path, base: Base, encoder: Base) -> tuple[Desk, Path]:
    """A desk with eighty labelled transcripts and the shipped prompt for labels → it and the recipe."""
    recipe = write_workspace(folder / "workspace")
    with (recipe.parent / "transcripts" / "more.jsonl").open("w") as file:
        file.writelines(json.dumps(row(number)) + "\n" for number in range(40, 80))
    prompts = recipe.parents[2] / "prompts"
    shutil.copytree(ROOT / "prompts" / "label", prompts / "label")
    with (prompts / "labels.yaml").open("a") as file:
        file.write("label: {production: 1}\n")
    desk = open_desk(recipe, base, encoder)
    desk.embedder = WordEmbedder()
    return desk, recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Base, tiny_encoder: Base) -> Iterator[tuple[Desk, Path]]:
    """One whose classifier of intents is trained, and that of sentiment is not."""
    desk, recipe = make_desk(tmp_path_factory.mktemp("labels"), tiny_base, tiny_encoder)
    train(recipe, desk)
    yield desk, recipe
    asyncio.run(desk.close())


@pytest.fixture
def prompt() -> Prompt:
    return parse_prompt((ROOT / "prompts" / "label" / "v1.yaml").read_text())


async def test_every_way_labels_what_training_held_out(trained: tuple[Desk, Path]) -> None:
    desk, _ = trained
    (task,) = await label_tasks("returns", desk, Quiet(), ["intent"])
    card = desk.adapters.card("returns-intent")
    arms = {arm.name: arm for arm in task.arms}
    assert list(arms) == ARMS
    assert not any(arm.failure for arm in task.arms)
    assert (task.task, task.labels, task.messages) == ("intent", card.labels, card.metrics["held_out_rows"])
    for name, figure in (("fine-tuned head", "held_out"), (ARMS[4], "words"), (ARMS[5], "majority")):
        assert arms[name].accuracy == pytest.approx(card.metrics[f"{figure}_accuracy"], abs=1e-6)
        assert arms[name].macro_f1 == pytest.approx(card.metrics[f"{figure}_macro_f1"], abs=1e-6)
    for arm in task.arms:
        assert None not in (arm.accuracy, arm.low, arm.high, arm.seconds_per_message)
        assert arm.low <= arm.accuracy <= arm.high  # type: ignore[operator]


async def test_the_same_run_gives_the_same_figures(trained: tuple[Desk, Path]) -> None:
    desk, _ = trained

    async def figures() -> list[LabelArm]:
        tasks = await label_tasks("returns", desk, Quiet(), ["intent"])
        return [arm.model_copy(update={"seconds_per_message": None}) for arm in tasks[0].arms]

    assert await figures() == await figures()


async def test_what_cannot_label_is_told_with_the_command_that_mends_it(trained: tuple[Desk, Path], tmp_path: Path) -> None:
    desk, recipe = trained
    known = known_messages("returns", desk, "intent")
    assert known.train == "bot train adapters/returns/recipe.yaml --method classifier --set task=intent"
    before = recipe.read_text()
    recipe.write_text(before.replace("held_out: 0.3", "held_out: 0.4"))
    (task,) = await label_tasks("returns", desk, Quiet(), ["intent"])
    recipe.write_text(before)
    assert "held out 0.3" in task.arms[0].failure
    assert "returns-intent@1" in task.arms[0].failure
    assert known.train in task.arms[0].failure
    assert task.arms[0].accuracy is None
    assert not any(arm.failure for arm in task.arms[1:])


async def test_a_missing_classifier_and_a_missing_prompt_fail_alone(
    tmp_path: Path, tiny_base: Base, tiny_encoder: Base
) -> None:
    desk, recipe = make_desk(tmp_path, tiny_base, tiny_encoder)
    shutil.rmtree(recipe.parents[2] / "prompts" / "label")
    (recipe.parents[2] / "prompts" / "labels.yaml").write_text("support: {production: 1}\n")
    (task,) = await label_tasks("returns", desk, Quiet(), ["intent"])
    await desk.close()
    failures = {arm.name: arm.failure for arm in task.arms if arm.failure}
    assert list(failures) == ARMS[:3]
    assert "There is no classifier 'returns-intent'" in failures[ARMS[0]]
    assert "--set task=intent" in failures[ARMS[0]]
    assert "There is no prompt 'label'" in failures[ARMS[1]]


async def test_a_task_without_labels_is_left_out_and_told(trained: tuple[Desk, Path]) -> None:
    desk, _ = trained
    ear = Ear()
    assert await label_tasks("returns", desk, ear, ["sentiment"]) == ()
    assert any("Labels of sentiment are left out: No message" in note for note in ear.notes)


async def test_a_prompts_scores_are_those_of_each_label_alone(tiny_base: Base, prompt: Prompt) -> None:
    engine = LocalEngine(tiny_base, "float64")
    await engine.load()
    labeller = Prompted(engine, prompt, "intent", LABELS, tuple(MESSAGES), await make_pool(MESSAGES, WordEmbedder()))
    found = await labeller.likelihoods(MESSAGES)
    sent = await _sent(labeller, MESSAGES)
    for messages, one in zip(sent, found, strict=True):
        alone = [await engine.score(messages, reply, Mix()) for reply in ("delivery", "other", "refund status")]
        assert one == pytest.approx([sum(logprobs) / len(logprobs) for logprobs in alone], abs=1e-9)
    assert await labeller.scores(MESSAGES) == pytest.approx(found - found.mean(0), abs=1e-9)
    await engine.close()


class Hearing(ScriptedEngine):
    """Keeps what was to be scored; reads no more than `context` words."""

    def __init__(self, context: int = 100_000) -> None:
        super().__init__(context=context)
        self.heard: list[tuple[Message, ...]] = []

    async def score_each(self, conversations: object, replies: object, mix: Mix) -> list[list[list[float]]]:
        self.heard += [tuple(messages) for messages in conversations]  # type: ignore[attr-defined]
        return await super().score_each(conversations, replies, mix)  # type: ignore[arg-type]


async def _sent(labeller: Prompted, messages: list[Labelled]) -> list[tuple[Message, ...]]:
    ear = Hearing()
    await Prompted(ear, labeller.prompt, labeller.task, labeller.labels, labeller.training, labeller.pool).likelihoods(
        messages
    )
    return ear.heard


async def test_examples_are_the_likest_of_other_conversations(prompt: Prompt) -> None:
    pool = await make_pool(MESSAGES, WordEmbedder())
    sent = await _sent(Prompted(Hearing(), prompt, "intent", LABELS, tuple(MESSAGES), pool), MESSAGES)
    for message, messages in zip(MESSAGES, sent, strict=True):
        assert messages[0].role == "system"
        assert "by what the customer wants. Labels: delivery, other, refund status." in messages[0].content
        assert messages[-1].content == message.text
        shown = {said.content: reply.content for said, reply in zip(messages[1:-1:2], messages[2:-1:2], strict=True)}
        assert shown == {
            other.text: words("intent", other.label) for other in MESSAGES if other.conversation != message.conversation
        }
    assert sent[4][-3].content == "where is my parcel {x}", "the likest stands last"


async def test_examples_that_do_not_fit_are_left_out_the_farthest_first(prompt: Prompt) -> None:
    pool = await make_pool(MESSAGES, WordEmbedder())
    whole = (await _sent(Prompted(Hearing(), prompt, "intent", LABELS, tuple(MESSAGES), pool), MESSAGES[4:]))[0]
    tight = Hearing(Hearing().count(whole) + 31)
    await Prompted(tight, prompt, "intent", LABELS, tuple(MESSAGES), pool).likelihoods(MESSAGES[4:])
    assert tight.heard == [whole[:1] + whole[3:]]


async def test_few_shots_never_come_from_held_out_conversations(
    trained: tuple[Desk, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _ = trained
    known = known_messages("returns", desk, "intent")
    held_out = {message.conversation for message in known.parts.held_out}
    shown: set[str] = set()
    plain = Prompted._messages
    monkeypatch.setattr(
        Prompted, "_messages", lambda self, text, e: (shown.update(one.conversation for one in e), plain(self, text, e))[1]
    )
    await label_tasks("returns", desk, Quiet(), ["intent"])
    assert shown
    assert not shown & held_out


def test_an_interval_is_over_conversations() -> None:
    assert interval([True] * 100, ["one"] * 91 + [str(n) for n in range(FEWEST - 2)] + ["one"]) == (None, None)
    assert interval([], []) == (None, None)
    random = np.random.default_rng(1)
    right = list(random.random(400) < 0.7)
    alone = interval(right, [str(number) for number in range(400)])
    assert alone == interval(right, [str(number) for number in range(400)])
    assert alone[0] < np.mean(right) < alone[1]  # type: ignore[operator]
    assert alone[1] - alone[0] == pytest.approx(2 * 1.96 * np.sqrt(0.7 * 0.3 / 400), rel=0.15)  # type: ignore[operator]
    # Ten copies of a message are one observation.
    copied = interval([one for one in right[:40] for _ in range(10)], [str(n) for n in range(40) for _ in range(10)])
    assert copied[1] - copied[0] > 2.5 * (alone[1] - alone[0])  # type: ignore[operator]


def test_words_of_labels_and_an_even_spread() -> None:
    assert words("intent", "refund_status") == "refund status"
    assert words("handoff", "true") != "true"
    assert spread(MESSAGES, 3) == [MESSAGES[0], MESSAGES[2], MESSAGES[4]]
    assert spread(MESSAGES, 64) == MESSAGES


def test_the_demo_has_labels_to_tell_apart(make_desk_of_demo: Callable[[], Desk]) -> None:
    for task in ("intent", "sentiment", "handoff"):
        known = known_messages("returns", make_desk_of_demo(), task)
        assert len(known.parts.labels) >= 2
        assert json.dumps([words(task, label) for label in known.parts.labels])


@pytest.fixture
def make_desk_of_demo() -> Callable[[], Desk]:
    from bot.settings import load

    return lambda: Desk(load(workspace=ROOT, engine="scripted"))
