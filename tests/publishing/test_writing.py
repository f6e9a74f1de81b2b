"""The writers' commands: what was not tried or not saved is said, taking back waits for nothing, one broken file hides nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bot.errors import Conflict, NotFound
from bot.writing import prompts_app

ON = ["--engine", "scripted"]
CASES = "cases: [{message: hello, expect: [{contains: nowhere}]}]\n"


@pytest.fixture
def draft(workspace: Path) -> Path:
    """A file with another role than the version in production."""
    path = workspace / "draft.yaml"
    path.write_text((workspace / "prompts" / "support" / "v1.yaml").read_text().replace("You are", "You were"))
    return path


def run(workspace: Path, *words: str) -> Result:
    return CliRunner().invoke(prompts_app, [*words, "--workspace", str(workspace)])


def publish(workspace: Path, *words: str) -> Result:
    return run(workspace, "label", "support@2", "production", "--why", "first", *ON, *words)


def test_a_prompt_without_cases_is_not_passed_in_silence(workspace: Path, draft: Path) -> None:
    run(workspace, "new", "support", "--from", str(draft))
    tried = run(workspace, "test", "support@2", *ON)
    assert tried.exit_code == 1
    assert "no cases: nothing was tried" in tried.output
    put = publish(workspace)
    assert put.exit_code == 0
    assert "no cases: nothing was tried" in put.output


def test_force_is_not_stopped_by_an_agent_that_cannot_answer(workspace: Path, draft: Path) -> None:
    (workspace / "prompts" / "support" / "cases.yaml").write_text(CASES)
    run(workspace, "new", "support", "--from", str(draft))
    assert isinstance(publish(workspace, "--adapters", "nosuch").exception, NotFound)
    put = publish(workspace, "--adapters", "nosuch", "--force")
    assert "not run to the end" in put.output
    assert "production is on version 2 now, before on version 1, forced." in put.output


def test_a_label_is_taken_back_without_an_agent(workspace: Path, draft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(workspace, "new", "support", "--from", str(draft))
    publish(workspace)
    monkeypatch.setattr("bot.desk.Desk.agent", property(lambda desk: pytest.fail("an agent was asked for")))
    assert "production is back on version 1, from version 2." in run(workspace, "undo", "support").output
    history = json.loads(run(workspace, "history", "support", "--json").output)
    assert [(row["version"], row["why"]) for row in history[:2]] == [(1, "Undone: first"), (2, "first")]
    nowhere = run(workspace, "undo", "support", "--label", "staging")
    assert "support@staging was nowhere before" in str(nowhere.exception)


def test_a_file_is_saved_on_the_version_that_it_changes(workspace: Path, draft: Path) -> None:
    same = run(workspace, "new", "support", "--from", str(workspace / "prompts" / "support" / "v1.yaml"))
    assert "support@1 has this content already: nothing was saved." in same.output
    assert "It follows support@1." in run(workspace, "new", "support", "--from", str(draft), "--after", "1").output
    draft.write_text(draft.read_text().replace("You were", "You will be"))
    late = run(workspace, "new", "support", "--from", str(draft), "--after", "1")
    assert isinstance(late.exception, Conflict)
    assert "support@3" in run(workspace, "new", "support", "--from", str(draft)).output


def test_one_broken_version_hides_nothing_of_the_others(workspace: Path) -> None:
    (workspace / "prompts" / "broken").mkdir()
    (workspace / "prompts" / "broken" / "v1.yaml").write_text("role: {")
    rows = json.loads(run(workspace, "list", "--json").output)
    assert [(row["prompt"], row["technique"]) for row in rows] == [("broken", ""), ("support", "zero-shot")]
    assert "cannot be read: " in rows[0]["newest note"]
    linted = run(workspace, "lint", "--json")
    assert linted.exit_code == 1
    found = json.loads(linted.output)
    assert [(row["prompt"], row["rule"]) for row in found if row[""] == "error"] == [("broken@1", "cannot be read")]
    assert isinstance(run(workspace, "lint", "suport").exception, NotFound)
