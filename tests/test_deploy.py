"""The deploy files start the same thing and name only what exists."""

from __future__ import annotations

import configparser
import re

import yaml

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"


def test_every_way_starts_bot_serve() -> None:
    assert 'CMD ["bot", "serve"]' in (DEPLOY / "Dockerfile").read_text()
    unit = configparser.ConfigParser(strict=False)
    unit.read(DEPLOY / "switchboard.service")
    assert unit["Service"]["ExecStart"].endswith("/bot serve")
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = compose["services"]["switchboard"]
    assert (ROOT / "deploy" / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    assert "command" not in service


def test_the_image_copies_what_exists_and_runs_without_root() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", text, re.M):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    assert re.search(r"^USER (?!root)", text, re.M)


def test_torch_is_pinned_alike_everywhere() -> None:
    pins = {
        name: set(re.findall(r"torch==([0-9.]+)", (ROOT / name).read_text()))
        for name in ("pyproject.toml", "Makefile", "deploy/Dockerfile", "README.md")
    }
    assert set.union(*pins.values()) == {"2.13.0"}
    assert all(pins.values()), pins
