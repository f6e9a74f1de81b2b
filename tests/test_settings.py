"""Settings: what comes before what, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bot.errors import SettingsError
from bot.settings import Settings, load
from tests.conftest import ROOT


def test_the_commented_file_names_every_setting_with_its_default() -> None:
    shown = yaml.safe_load((ROOT / "deploy" / "settings.yaml").read_text())
    assert set(shown) == set(Settings.model_fields)
    defaults = Settings(workspace=Path("/nowhere")).model_dump(mode="json")
    assert {**shown, "workspace": ""} == {**defaults, "workspace": ""}


def test_command_line_before_environment_before_file(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "settings.yaml").write_text("port: 1001\npassages: 5\nagent: {prompt: a@1}\n")
    assert load(workspace=workspace).port == 1001
    monkeypatch.setenv("SWITCHBOARD_PORT", "1002")
    monkeypatch.setenv("SWITCHBOARD_AGENT__KNOWLEDGE", "shop")
    settings = load(workspace=workspace)
    assert (settings.port, settings.passages, settings.agent.prompt, settings.agent.knowledge) == (1002, 5, "a@1", "shop")
    assert load(workspace=workspace, port=1003).port == 1003


@pytest.mark.parametrize(
    ("text", "named"),
    [("prot: 1", "prot"), ("port: many", "port"), ("port: 99999999", "port"), ("agent: {prmpt: x}", "prmpt"), ("a: [", "YAML"), ("- 1", "settings.yaml")],
)  # fmt: skip
def test_bad_settings_are_named(text: str, named: str, workspace: Path) -> None:
    (workspace / "settings.yaml").write_text(text)
    with pytest.raises(SettingsError, match=named):
        load(workspace=workspace)


@pytest.mark.parametrize(
    ("name", "value"), [("SWITCHBOARD_PROT", "1"), ("SWITCHBOARD_AGENT", "foo"), ("SWITCHBOARD_PORT", "x")]
)
def test_bad_environment_variables_are_named(
    name: str, value: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name.removeprefix("SWITCHBOARD_").lower() + "|" + name) as refused:
        load(workspace=workspace)
    assert "settings.yaml is no" not in str(refused.value)


def test_loading_makes_nothing(workspace: Path) -> None:
    before = sorted(workspace.rglob("*"))
    load(workspace=workspace)
    assert sorted(workspace.rglob("*")) == before
