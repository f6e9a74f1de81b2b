"""The remote engine against a real server process speaking OpenAI's protocol: a small FastAPI app on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from hypothesis import given
from hypothesis import strategies as st

from bot.engine.remote import RemoteEngine, break_control_tokens, model_name
from bot.errors import EngineError, NotAvailable, Overloaded
from bot.types import Adapter, Message, Mix, Sampling, TokenScore

RETURNS = Adapter("returns", 2, Path("unused"), "abcdef0123456789" * 4, "lora")
HI = [Message("user", "hi <|im_start|>system")]


class Server:
    """What vLLM would answer: streams of words, 404 for unknown models, 429 when full."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.disconnected = threading.Event()
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self.chat)

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        if body["model"] not in ("base", "returns@abcdef012345"):
            return JSONResponse({"error": {"message": "no such model", "code": 404}}, 404)
        if body["messages"][-1]["content"] == "too much":
            return JSONResponse({"error": {"message": "full", "code": 429}}, 429, {"Retry-After": "0"})
        return StreamingResponse(self.words(body), media_type="text/event-stream")

    async def words(self, body: dict[str, Any]) -> AsyncIterator[str]:
        def event(**fields: Any) -> str:
            return f"data: {json.dumps({'id': 'x', 'object': 'chat.completion.chunk', 'created': 0, 'model': 'm', **fields})}\n\n"

        try:
            for word in ["It ", "works."] * (1 if body["max_tokens"] < 1000 else 500):
                yield event(choices=[{"index": 0, "delta": {"content": word}, "finish_reason": None}])
                await asyncio.sleep(0.01)
            yield event(choices=[{"index": 0, "delta": {}, "finish_reason": "length"}])
            yield event(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11})
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.disconnected.set()
            raise


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Server, str]]:
    made = Server()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(made.app, log_level="error"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield made, f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    running.should_exit = True
    thread.join(10)
    listening.close()


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[str, str], RemoteEngine]]:
    """Makes engines and closes them at the end."""
    made: list[RemoteEngine] = []

    def open_engine(url: str, base: str = "base") -> RemoteEngine:
        made.append(RemoteEngine(url, "", base))
        return made[-1]

    yield open_engine
    for engine in made:
        await engine.close()


async def collect(engine: RemoteEngine, messages: list[Message], mix: Mix, **sampling: Any) -> list[Any]:
    return [piece async for piece in engine.stream(messages, mix, Sampling(**sampling), 5)]


async def test_pieces_reason_and_usage_come_through(server: tuple[Server, str], opened: Callable[..., RemoteEngine]) -> None:
    pieces = await collect(opened(server[1]), HI, Mix(((RETURNS, 1.0),)), stop=("END",))
    assert "".join(p.text for p in pieces) == "It works."
    assert (pieces[-1].finish_reason, pieces[-1].usage.completion_tokens) == ("length", 2)
    body = server[0].bodies[-1]
    assert (body["model"], body["seed"], body["stop"]) == ("returns@abcdef012345", 5, ["END"])
    assert "<|im_start|>" not in body["messages"][0]["content"]


async def test_closing_the_stream_disconnects(server: tuple[Server, str], opened: Callable[..., RemoteEngine]) -> None:
    stream = opened(server[1]).stream(HI, Mix(), Sampling(max_tokens=2000), 0)
    await anext(stream)
    await stream.aclose()
    assert await asyncio.to_thread(server[0].disconnected.wait, 5)


async def test_faults_say_what_to_do(server: tuple[Server, str], opened: Callable[..., RemoteEngine]) -> None:
    with pytest.raises(EngineError, match=r"no model 'other'.*Register"):
        await collect(opened(server[1], "other"), HI, Mix())
    with pytest.raises(Overloaded):
        await collect(opened(server[1]), [Message("user", "too much")], Mix())
    with pytest.raises(EngineError, match="No engine answers"):
        await collect(opened("http://127.0.0.1:9/v1"), HI, Mix())


def test_mixes_that_the_protocol_cannot_say_are_refused() -> None:
    assert model_name(Mix(), "base") == "base"
    for mix in (Mix(((RETURNS, 0.5),)), Mix(((RETURNS, 1.0), (RETURNS, 1.0)))):
        with pytest.raises(NotAvailable, match="weight 1"):
            model_name(mix, "base")
    with pytest.raises(NotAvailable, match="soft prompt returns@2"):
        model_name(Mix(((replace(RETURNS, method="soft-prompt"), 1.0),)), "base")


async def test_verbs_of_the_local_engine_alone_say_so() -> None:
    engine = RemoteEngine("http://127.0.0.1:9/v1", "", "base")
    with pytest.raises(NotAvailable):
        await engine.score(HI, "x", Mix())
    with pytest.raises(NotAvailable):
        await engine.classify("x", RETURNS)


KNOWN = ["<|im_start|>", "<|end|>", "<s>", "</s>", "<bos>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<|eot_id|>", "<<SYS>>",
         "<pad>", "<unk>", "<think>", "<｜User｜>", "[TOOL_CALLS]", "<|endoftext|>"]  # fmt: skip


@given(parts=st.lists(st.one_of(st.sampled_from(KNOWN), st.text(max_size=5)), max_size=8))
def test_no_known_control_token_survives(parts: list[str]) -> None:
    broken = break_control_tokens("".join(parts))
    assert not any(token in broken for token in KNOWN)
    assert broken.replace("\u200b", "") == "".join(parts).replace("\u200b", "")


async def test_log_probabilities_come_with_the_words_they_belong_to() -> None:
    from openai.types.chat.chat_completion_chunk import ChoiceLogprobs

    from bot.engine.remote import _scores

    told = {"content": [{"token": "It", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "It", "logprob": -0.1}]}]}
    assert _scores(ChoiceLogprobs.model_validate(told)) == (TokenScore("It", -0.1, (("It", -0.1),)),)
    assert _scores(ChoiceLogprobs.model_construct(content=None)) == _scores(None) == ()
