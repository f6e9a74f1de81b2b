"""The command line as a stranger meets it: whole processes, their output, their exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bot.base import Base
from tests.commands import bot
from tests.conftest import ROOT, make_adapter

SCRIPTED = ["--engine", "scripted", "--knowledge", "none"]


def test_a_pipe_gets_the_reply_on_stdout_and_nothing_else(workspace: Path) -> None:
    words = [sys.executable, "-m", "bot", "chat", *SCRIPTED, "--workspace", str(workspace)]
    done = subprocess.run(words, input=b"Where is my parcel?\n", capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().strip().endswith("Where is my parcel?")
    assert done.stdout.startswith(b"[base] 2 messages")


def test_reasoning_goes_to_stderr(workspace: Path, steps: str) -> None:
    asked = b"<think>Asked: parcel.</think> Where is my parcel?"
    done = bot("chat", *SCRIPTED, "--prompt", steps, workspace=workspace, stdin=asked)
    assert done.returncode == 0, done.stderr
    assert b"Where is my parcel?" in done.stdout
    assert b"Asked" not in done.stdout
    assert b"not part of the reply: Asked: parcel." in done.stderr


@pytest.mark.parametrize(
    ("words", "stdin", "says"),
    [
        (["chat", *SCRIPTED], b"", "empty"),
        (["chat", *SCRIPTED], b"x" * 100_000, "100,000 characters"),
        (["chat", *SCRIPTED], b"\xff\xfe", "not UTF-8"),
        (["chat", *SCRIPTED, "--prompt", "suport"], b"hi", "support"),
        (["chat", *SCRIPTED, "--prompt", "support@9"], b"hi", "support@1"),
        (["chat", *SCRIPTED, "--adapters", "refunds"], b"hi", "none yet"),
        (["chat", "--engine", "scripted", "--knowledge", "artikles"], b"hi", "articles"),
        (["chat", *SCRIPTED, "--base", "./nowhere"], b"hi", "nowhere"),
        (["chat", "--engine", "warp"], b"hi", "engine"),
        (["prompts", "show", "suport"], b"", "support"),
        (["adapters", "show", "refunds"], b"", "none yet"),
        (["serve", "--engine", "scripted", "--host", "0.0.0.0"], b"", "needs users"),
        (["train", "no/such/recipe.yaml"], b"", "recipe.yaml"),
        (["train", "/tmp"], b"", "cannot be read"),
        (
            ["train", str(ROOT / "adapters/returns/recipe.yaml"), "--method", "magic"],
            b"",
            "'lora', 'soft-prompt' or 'classifier'",
        ),
        (["init", "/proc/xx"], b"", "/proc"),
        (["chat", *SCRIPTED, "--seed", str(2**70)], b"hi", "seed"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(words: list[str], stdin: bytes, says: str, workspace: Path) -> None:
    done = bot(*words, workspace=None if words[0] == "init" else workspace, stdin=stdin)
    error = done.stderr.decode()
    assert done.returncode == 1, error
    assert says in error
    assert "Traceback" not in error
    assert not done.stdout
    assert error.count("\n") == 1, error


def test_users_are_added_listed_and_removed(workspace: Path) -> None:
    added = bot("users", "add", "mika", "--role", "lead", workspace=workspace, stdin=b"four plain words here\n")
    assert added.returncode == 0, added.stderr
    assert b"everybody signs in" in added.stderr
    key = bot("users", "key", "mika", workspace=workspace).stdout.decode().strip()
    assert key.startswith("sb-")
    listed = json.loads(bot("users", "list", "--json", workspace=workspace).stdout)
    assert [(row["user"], row["role"], row["api keys"]) for row in listed] == [("mika", "lead", 1)]
    changed = bot("users", "password", "mika", workspace=workspace, stdin=b"other plain words here\n")
    assert (changed.returncode, b"1 API key goes on working" in changed.stderr) == (0, True), changed.stderr
    assert bot("users", "key", "mika", "--end", workspace=workspace).stdout == b"mika  API keys ended: 1\n"
    bytes_alone = bot("users", "password", "mika", workspace=workspace, stdin=b"\xff\xfe")
    assert (bytes_alone.returncode, b"not UTF-8" in bytes_alone.stderr) == (1, True)
    short = bot("users", "password", "mika", workspace=workspace, stdin=b"short\n")
    assert (short.returncode, b"5 characters" in short.stderr) == (1, True)
    removed = bot("users", "remove", "mika", workspace=workspace)
    assert b"No users are left" in removed.stderr


def test_init_makes_a_workspace_that_works_and_never_overwrites(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert bot("init", str(folder)).returncode == 0
    assert bot("chat", *SCRIPTED, workspace=folder, stdin=b"hi").returncode == 0
    again = bot("init", str(folder))
    assert again.returncode == 1
    assert b"not an empty folder" in again.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]


def test_init_fills_an_empty_folder_that_is_there(tmp_path: Path) -> None:
    assert bot("init", str(tmp_path)).returncode == 0
    assert (tmp_path / "settings.yaml").exists()


@pytest.mark.parametrize("words", [["prompts", "list"], ["chat"], ["adapters", "list"], ["doctor"]])
def test_a_mistyped_workspace_is_refused_and_not_made(words: list[str], tmp_path: Path) -> None:
    done = bot(*words, workspace=tmp_path / "nope", stdin=b"hi")
    assert done.returncode == 1
    assert b"workspace" in done.stderr + done.stdout
    assert not (tmp_path / "nope").exists()


@pytest.mark.parametrize("url", ["nonsense", "postgresql+nodriver://me:secret@127.0.0.1/x", "sqlite:////proc/nope/x.db"])
def test_a_database_that_cannot_be_used_is_one_line(url: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_DATABASE", url)
    done = bot("prompts", "list", workspace=workspace)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1, done.stderr
    assert b"secret" not in done.stderr


def test_odd_folders_and_broken_cards_do_not_hide_the_rest(workspace: Path, tiny_base: Base) -> None:
    make_adapter(tiny_base, workspace / "adapters" / "good" / "v1", seed=1)
    for folder in ("adapters/Old_One/v1", "adapters/broken/v1", "knowledge/.obsidian", "prompts/Bad Name"):
        (workspace / folder).mkdir(parents=True)
    (workspace / "adapters" / "Old_One" / "v1" / "card.yaml").write_text("x: 1")
    (workspace / "adapters" / "broken" / "v1" / "card.yaml").write_text("x: 1")
    rows = json.loads(bot("adapters", "list", "--json", workspace=workspace).stdout)
    assert [row["adapter"] for row in rows] == ["broken@1", "good@1"]
    assert "not valid" in rows[0]["method"]
    assert bot("knowledge", "status", workspace=workspace).returncode == 0
    assert bot("prompts", "list", workspace=workspace).returncode == 0


def test_doctor_finds_a_new_workspace_healthy_and_names_what_is_missing(workspace: Path) -> None:
    done = bot("doctor", "--json", workspace=workspace)
    found = {row["thing"]: row for row in json.loads(done.stdout)}
    assert all(row[""] == "ok" for thing, row in found.items() if thing != "port"), found
    (workspace / "prompts" / "support" / "v1.yaml").write_text("role: {")
    done = bot("doctor", "--json", workspace=workspace)
    found = {row["thing"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 1
    assert "line" in found["prompts"]["finding"]


def test_lists_print_json(workspace: Path) -> None:
    rows = json.loads(bot("prompts", "list", "--json", workspace=workspace).stdout)
    assert [row["prompt"] for row in rows] == ["support"]
    assert json.loads(bot("adapters", "list", "--json", workspace=workspace).stdout) == []
    shown = json.loads(bot("prompts", "show", "support@production", "--json", workspace=workspace).stdout)
    assert shown["ref"] == "support@1"


def test_verify_says_what_may_serve_and_why_not(workspace: Path, tiny_base: Base) -> None:
    make_adapter(tiny_base, workspace / "adapters" / "good" / "v1", seed=1)
    bad = make_adapter(tiny_base, workspace / "adapters" / "bad" / "v1", seed=2)
    (bad / "adapter_model.safetensors").write_bytes(b"")
    done = bot("adapters", "verify", "--json", "--base", str(tiny_base.path), workspace=workspace)
    verdicts = {row["adapter"]: row["verdict"] for row in json.loads(done.stdout)}
    assert verdicts == {"good@1": "serves", "bad@1": "refused"}
    assert done.returncode == 1


def test_knowledge_is_indexed_searched_and_rebuilt(workspace: Path) -> None:
    done = bot("knowledge", "rebuild", workspace=workspace)
    assert done.returncode == 0, done.stderr
    found = json.loads(bot("knowledge", "search", "are you open on saturday?", "--json", workspace=workspace).stdout)
    assert any("closed" in row["text"] for row in found)


def test_a_prompt_is_made_compared_tested_labelled_and_taken_back(workspace: Path) -> None:
    assert b"fix-it@1" in bot("prompts", "new", "fix-it", "--from", "apologise", workspace=workspace).stdout
    assert (workspace / "prompts" / "fix-it" / "cases.yaml").exists()
    again = bot("prompts", "new", "fix-it", "--from", "apologise", workspace=workspace)
    assert (again.returncode, b"is there already" in again.stderr) == (1, True)
    draft = workspace / "draft.yaml"
    draft.write_text((workspace / "prompts" / "fix-it" / "v1.yaml").read_text().replace("Say sorry once", "Say sorry twice"))
    assert b"fix-it@2" in bot("prompts", "new", "fix-it", "--from", str(draft), workspace=workspace).stdout
    changes = bot("prompts", "diff", "fix-it@1", "fix-it@2", workspace=workspace).stdout.decode()
    assert "+" in changes
    assert "sorry twice" in changes
    on = ["--engine", "scripted", "--knowledge", "none"]
    tried = bot("prompts", "test", "fix-it@2", "--against", "fix-it@1", "--json", *on, workspace=workspace)
    assert tried.returncode == 1, tried.stderr
    assert "sorry" in json.loads(tried.stdout)[0]["fix-it@2"]
    assert "delivery" in json.loads(tried.stdout)[0]["message"]
    put = ["prompts", "label", "fix-it@2", "production", "--why", "a try", *on]
    refused = bot(*put, workspace=workspace)
    assert (refused.returncode, b"fails 1 of 1 cases" in refused.stderr) == (1, True)
    assert b"forced" in bot(*put, "--force", workspace=workspace).stdout
    assert b"on version 1" in bot(*put[:2], "fix-it@1", "staging", *put[4:], workspace=workspace).stdout
    history = json.loads(bot("prompts", "history", "fix-it", "--json", workspace=workspace).stdout)
    assert [(row["label"], row["version"], row["forced"]) for row in history] == [
        ("staging", 1, ""),
        ("production", 2, "forced"),
    ]
    assert bot("prompts", "lint", "fix-it@1", workspace=workspace).returncode == 0
