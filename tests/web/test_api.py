"""The OpenAI-compatible API on a real server: the official client, errors in OpenAI's shape, limits, leaving."""

from __future__ import annotations

import asyncio
import json
import queue
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from bot.desk import Desk
from bot.engine.scripted import ScriptedEngine
from bot.errors import NotFound
from bot.journal.models import TurnRecord
from bot.knowledge.store import MemoryStore
from bot.settings import load
from bot.skeleton import SOURCE
from bot.types import Piece, TokenScore, Usage
from bot.web.app import listen, make_server
from tests.conftest import WordEmbedder


@pytest.fixture
async def address(desk: Desk) -> AsyncIterator[str]:
    """A running server over the scripted desk."""
    listening = listen("127.0.0.1", 0)
    server = make_server(desk)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await task


@pytest.fixture(scope="module")
def shared_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server in a thread of its own, for the tests that leave nothing behind."""
    workspace = tmp_path_factory.mktemp("shared") / "workspace"
    shutil.copytree(SOURCE, workspace)
    desk = Desk(load(workspace=workspace, engine="scripted"))
    desk.embedder, desk.store = WordEmbedder(), MemoryStore()
    listening, running = listen("127.0.0.1", 0), queue.SimpleQueue[uvicorn.Server]()

    async def run() -> None:
        server = make_server(desk)
        running.put(server)
        await server.serve(sockets=[listening])

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    server = running.get(timeout=60)
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture
async def client(address: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
async def http(address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=address) as made:
        yield made


def scripted(desk: Desk) -> ScriptedEngine:
    assert isinstance(desk.engine, ScriptedEngine)
    return desk.engine


async def recorded(desk: Desk) -> TurnRecord:
    """The first turn, which is written a moment after its reply ended."""
    for _ in range(200):
        try:
            return desk.journal.turn(1)
        except NotFound:
            await asyncio.sleep(0.02)
    raise AssertionError("the turn was not recorded")


HI: list[Any] = [{"role": "user", "content": "hello there"}]


async def test_the_official_client_streams(client: openai.AsyncOpenAI, desk: Desk) -> None:
    scripted(desk).enqueue("one two three")
    stream = await client.chat.completions.create(
        model="starter", messages=HI, stream=True, stream_options={"include_usage": True}, seed=4, stop=["X"]
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    call = scripted(desk).calls[-1]
    assert (call.seed, call.sampling.stop, call.messages[-1].content) == (4, ("X",), "hello there")


async def test_a_whole_reply_carries_usage(client: openai.AsyncOpenAI, desk: Desk) -> None:
    scripted(desk).enqueue("one two three")
    reply = await client.chat.completions.create(model="starter", messages=HI, max_tokens=2)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("one two ", "length")
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 2


async def test_reasoning_stays_inside(http: httpx.AsyncClient, desk: Desk, steps: str) -> None:
    body = {"model": "starter", "messages": HI, "prompt": steps}
    for stream in (False, True):
        scripted(desk).enqueue("<think>a secret</think> Hi there.")
        reply = await http.post("/v1/chat/completions", json={**body, "stream": stream})
        assert reply.status_code == 200
        assert "Hi " in reply.text
        assert "secret" not in reply.text
        assert "think>" not in reply.text


async def test_prompt_and_knowledge_are_additive(client: openai.AsyncOpenAI, desk: Desk) -> None:
    await client.chat.completions.create(
        model="starter", messages=[{"role": "user", "content": "When is the help desk open on weekdays?"}],
        extra_body={"prompt": "support@1", "knowledge": "articles", "variables": {"company": "Acme"}},
    )  # fmt: skip
    system = scripted(desk).calls[-1].messages[0].content
    assert "Acme" in system
    assert "[1] Opening hours" in system
    turn = desk.journal.turn(1)
    assert (turn.prompt, turn.knowledge) == ("support@1", "articles")


async def test_the_customers_agent_is_a_model(client: openai.AsyncOpenAI, desk: Desk) -> None:
    await client.chat.completions.create(model="agent", messages=HI)
    assert desk.journal.turn(1).prompt == "support@1"
    assert {m.id for m in (await client.models.list()).data} >= {"starter", "agent"}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"model": "nothing", "messages": HI}, 404, "agent, starter"),
        ({"model": "GPT-4o", "messages": HI}, 404, "agent, starter"),
        ({"model": "starter", "messages": HI, "prompt": "suport"}, 404, "support"),
        ({"model": "starter", "messages": HI, "knowledge": "artikles"}, 404, "articles"),
        ({"model": "starter", "messages": HI, "adapters": [{"id": "x", "scale": 9}]}, 400, "weight"),
        ({"model": "starter", "messages": []}, 400, "messages"),
        ({"model": "starter", "messages": [{"role": "user", "content": ""}]}, 400, "empty"),
        ({"model": "starter", "messages": [{"role": "user", "content": "x" * 100_000}]}, 400, "100,000"),
        ({"model": "starter", "messages": [{"role": "user", "content": "\ud800"}]}, 400, "Unicode"),
        ({"model": "starter", "messages": [{"role": "pirate", "content": "x"}]}, 400, "role"),
        ({"model": "starter", "messages": [{"role": "assistant", "content": "x"}]}, 400, "customer"),
        ({"model": "starter", "messages": HI, "temperature": 99}, 400, "temperature"),
        ({"model": "starter", "messages": HI, "max_tokens": -1}, 400, "max_tokens"),
        ({"model": "starter", "messages": HI, "seed": -1}, 400, "seed"),
        ({"model": "starter", "messages": HI, "n": 3}, 501, "n other than 1"),
        ({"model": "starter", "messages": HI, "tools": [{}]}, 501, "tools"),
        ({"messages": HI}, 400, "model"),
        ([], 400, "body"),
        ("not json", 400, "JSON"),
        ({"model": "../../etc/passwd", "messages": HI}, 404, "starter"),
        ({"model": "starter", "messages": HI, "adapters": [{"id": "refunds"}]}, 404, "none yet"),
        ({"model": "starter", "messages": HI, "adapters": [{"id": "../../etc"}]}, 400, "not valid"),
        ({"model": "starter", "messages": HI, "max_completion_tokens": 0}, 400, "max_tokens"),
        ({"model": "starter", "messages": HI, "response_format": {"type": "json_object"}}, 501, "response_format"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_openais_shape(shared_address: str, body: Any, status: int, says: str, stream: bool) -> None:
    sent = {**body, "stream": stream} if isinstance(body, dict) else body
    content = sent if isinstance(sent, str) else json.dumps(sent)
    headers = {"content-type": "application/json"}
    reply = httpx.post(f"{shared_address}/v1/chat/completions", content=content, headers=headers)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert says.lower() in error["message"].lower()


async def test_a_body_over_the_limit_is_refused_announced_or_not(http: httpx.AsyncClient) -> None:
    big = b"x" * 3_000_000
    assert (await http.post("/v1/chat/completions", content=big)).status_code == 413

    async def in_parts() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 100_000):
            yield big[start : start + 100_000]

    assert (await http.post("/v1/chat/completions", content=in_parts())).status_code == 413


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_ends_the_reply(http: httpx.AsyncClient, desk: Desk, stream: bool) -> None:
    scripted(desk).delay = 0.05
    scripted(desk).enqueue("word " * 200)
    body = {"model": "starter", "messages": HI, "stream": stream, "max_tokens": 500}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(http.post("/v1/chat/completions", json=body), 0.5)
    start = time.monotonic()
    while not scripted(desk).finished and time.monotonic() - start < 5:
        await asyncio.sleep(0.02)
    assert list(scripted(desk).finished) == ["cancelled"]
    assert (await recorded(desk)).finish_reason == "cancelled"


async def test_a_client_that_leaves_before_its_turn_is_not_served(http: httpx.AsyncClient, desk: Desk) -> None:
    engine = scripted(desk)
    engine.delay = 2.0
    body = {"model": "starter", "messages": HI, "stream": True}
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(http.post("/v1/chat/completions", json=body), 0.5)
    while not engine.finished:
        await asyncio.sleep(0.02)
    assert time.monotonic() - start < 1.8
    assert (await recorded(desk)).reply == ""


async def test_null_is_the_same_as_leaving_out(http: httpx.AsyncClient) -> None:
    optional = (
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "seed",
        "n",
        "logprobs",
        "top_logprobs",
        "tools",
        "variables",
    )
    body = {"model": "starter", "messages": HI, **dict.fromkeys(optional)}
    assert (await http.post("/v1/chat/completions", json=body)).status_code == 200


async def test_log_probabilities_have_openais_shape(http: httpx.AsyncClient, desk: Desk, steps: str) -> None:
    async def told(*_: object) -> AsyncIterator[Piece]:
        yield Piece("Hé", scores=(TokenScore("Hé", -0.5, (("Hé", -0.5), ("Ho", -1.5))),))
        yield Piece("", "deadline", Usage(1, 1), (TokenScore("\ufffd", -2.0),))

    desk.engine.stream = told  # type: ignore[assignment]
    body = {"model": "starter", "messages": HI, "logprobs": True, "top_logprobs": 2}
    choice = (await http.post("/v1/chat/completions", json=body)).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert [token["bytes"] for token in choice["logprobs"]["content"]] == [[72, 195, 169], None]
    assert choice["logprobs"]["content"][0]["top_logprobs"][1] == {"token": "Ho", "logprob": -1.5, "bytes": [72, 111]}
    too_many = await http.post("/v1/chat/completions", json=body | {"top_logprobs": 21})
    assert (too_many.status_code, "from 0 to 20" in too_many.text) == (400, True)
    hidden = await http.post("/v1/chat/completions", json=body | {"prompt": steps})
    assert (hidden.status_code, "reasoning" in hidden.text) == (400, True)


async def test_unknown_routes_have_openais_shape(http: httpx.AsyncClient) -> None:
    reply = await http.get("/v1/nothing")
    assert reply.status_code == 404
    assert "/v1/models" in reply.json()["error"]["message"]


async def test_a_fault_of_ours_is_told_in_openais_shape(
    http: httpx.AsyncClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(desk.engine, "stream", fail)
    reply = await http.post("/v1/chat/completions", json={"model": "starter", "messages": HI})
    assert reply.status_code == 500
    assert reply.json()["error"]["type"] == "server_error"
    assert "secret" not in reply.text


async def test_another_hosts_name_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health", headers={"host": "evil.example"})).status_code == 400
    assert (await http.get("/health")).json() == {"status": "ok"}


async def test_a_new_browser_gets_a_cookie_of_its_own(http: httpx.AsyncClient) -> None:
    first = await http.get("/")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "set-cookie" not in (await http.get("/")).headers
    async with httpx.AsyncClient(base_url=str(http.base_url)) as other:
        assert (await other.get("/")).headers["set-cookie"] != cookie


async def test_both_pages_answer(http: httpx.AsyncClient) -> None:
    for path in ("/", "/desk", "/desk/"):
        page = await http.get(path, follow_redirects=True)
        assert page.status_code == 200
        assert "gradio" in page.text.lower()
        config = (await http.get(f"{path.rstrip('/')}/config")).json()
        assert config["run_history"] is False
        assert config["analytics_enabled"] is False
        assert not [d["api_name"] for d in config["dependencies"] if d["api_visibility"] == "public"]


async def test_metrics_speak_prometheus_and_name_no_customer(address: str, desk: Desk) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        body = {"model": "agent", "messages": [{"role": "user", "content": "my secret question"}]}
        await client.post("/v1/chat/completions", json=body)
        page = await client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    model = f'model_name="{desk.base.name}"'
    assert f'vllm:request_success_total{{finished_reason="stop",{model}}} 1.0' in page.text
    assert f"vllm:time_to_first_token_seconds_count{{{model}}} 1.0" in page.text
    assert f"vllm:num_requests_running{{{model}}} 0.0" in page.text
    assert "secret" not in page.text
