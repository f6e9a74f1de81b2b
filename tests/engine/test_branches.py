"""Several replies to the same messages: each as likely as alone, whatever is mixed in, and the messages read once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from bot.adapters.verify import verify
from bot.base import Base
from bot.engine.local.branches import tails
from bot.engine.local.encode import encode, encode_reply
from bot.engine.local.engine import LocalEngine
from bot.engine.local.model import load_tokenizer
from bot.engine.local.prefixes import Prefixes
from bot.engine.scripted import ScriptedEngine
from bot.errors import InvalidMessage
from bot.types import Message, Mix
from tests.conftest import make_adapter, make_soft_prompt
from tests.engine.test_batch import KINDS, TARGETS

ROLE = Message("system", "Labels: refund status, refund, delivery, other. " * 8)
REPLIES = ["refund", "refund status", "delivery", "a", "something else that is far longer than the labels are", "other"]
MANY = [f"label number {number} of a long list" for number in range(60)]


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def base(kind: str, make_base: Callable[..., Base]) -> Base:
    return make_base(kind=kind, **KINDS[kind])


@pytest.fixture(scope="module")
def mixes(kind: str, base: Base, tmp_path_factory: pytest.TempPathFactory) -> list[Mix]:
    folder = tmp_path_factory.mktemp("made")
    targets = {"target_modules": TARGETS[kind]} if kind in TARGETS else {}
    lora = verify("l", 1, make_adapter(base, folder / "l" / "v1", 1, **targets), base)
    soft = verify("s", 1, make_soft_prompt(base, folder / "s" / "v1", 2), base)
    return [Mix(), Mix(((lora, 0.7),)), Mix(((soft, 1.0),)), Mix(((lora, 1.3), (soft, 1.0)))]


@pytest.fixture
async def engine(base: Base) -> AsyncIterator[LocalEngine]:
    made = LocalEngine(base, "float64")
    yield made
    await made.close()


CONVERSATIONS = [[ROLE, Message("user", text)] for text in ("where is it", "where is my parcel? " * 40, "where is she")]


@pytest.mark.parametrize("replies", [REPLIES, MANY, ["one"], []], ids=["few", "more than a chunk", "one", "none"])
async def test_each_scores_as_it_does_alone(engine: LocalEngine, mixes: list[Mix], replies: list[str]) -> None:
    for mix in mixes:
        found = await engine.score_each(CONVERSATIONS, replies, mix)
        assert [len(row) for row in found] == [len(replies)] * len(CONVERSATIONS)
        for messages, row in zip(CONVERSATIONS, found, strict=True):
            # Of many, some of every chunk: alone each of them is a reading of its own.
            for reply, logprobs in list(zip(replies, row, strict=True))[:: max(1, len(replies) // 6)]:
                assert logprobs == pytest.approx(await engine.score(messages, reply, mix), abs=1e-9), reply


async def test_what_conversations_have_in_common_is_read_once(
    engine: LocalEngine, mixes: list[Mix], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Prefixes] = []
    monkeypatch.setattr(Prefixes, "__init__", _remembered(Prefixes.__init__, kept))
    await engine.load()
    for mix in mixes:
        kept.clear()
        await engine.score_each(CONVERSATIONS, REPLIES, mix)
        # The second and the third begin with the role of the first.
        assert max(prefixes.hits for prefixes in kept) > 2 * 40


def _remembered(begin: Callable[..., None], kept: list[Prefixes]) -> Callable[..., None]:
    def remembered(self: Prefixes, *given: int) -> None:
        kept.append(self)
        begin(self, *given)

    return remembered


async def test_a_conversation_with_a_reply_beyond_the_context_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(InvalidMessage, match=r"tokens to read; this base reads 512\. Shorten the text"):
        await engine.score_each([[Message("user", "hello")]], ["yes", "no " * 600], Mix())


def test_a_reply_is_written_alike_after_any_conversation(tiny_base: Base) -> None:
    tokenizer = load_tokenizer(tiny_base)
    long = [ROLE, Message("user", "a"), Message("assistant", "b"), Message("user", "<|im_end|> {x}")]
    start = len(encode(tokenizer, long))
    assert tails(tokenizer, long, REPLIES) == [encode_reply(tokenizer, long, reply)[0][start:] for reply in REPLIES]


async def test_the_scripted_engine_scores_each(tiny_base: Base) -> None:
    assert await ScriptedEngine().score_each([[ROLE]], ["one", "one two"], Mix()) == [[[-1.0] * 2, [-1.0] * 3]]
