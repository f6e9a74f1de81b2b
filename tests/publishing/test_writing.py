"""The writers' commands say what was not tried."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from bot.writing import prompts_app


def test_a_prompt_without_cases_is_not_passed_in_silence(workspace: Path) -> None:
    (workspace / "prompts" / "support" / "cases.yaml").unlink(missing_ok=True)
    on = ["--workspace", str(workspace), "--engine", "scripted"]
    tried = CliRunner().invoke(prompts_app, ["test", "support@1", *on])
    assert tried.exit_code == 1
    assert "no cases: nothing was tried" in tried.output
    put = CliRunner().invoke(prompts_app, ["label", "support@1", "production", "--why", "first", *on])
    assert put.exit_code == 0
    assert "no cases: nothing was tried" in put.output
