"""What the documents say is so: commands exist, the tree is complete, paths are there, versions agree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from bot.cli import app
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "prompts/README.md", "knowledge/README.md", "adapters/README.md")
]


def commands() -> set[str]:
    found = set()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}" for sub in inner} if inner else {name}
    return found


def test_the_readme_lists_exactly_the_commands_there_are() -> None:
    table = README.split("## Commands")[1].split("\n## ")[0]
    assert set(re.findall(r"`bot ([a-z ]+)`", table)) == commands()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_links_in_documents_exist(path: Path) -> None:
    text = path.read_text()
    code = "\n".join(re.findall(r"`[^`\n]+`|^    .*$", text, re.M))
    known = commands() | {command.split()[0] for command in commands()}
    for words in re.findall(r"\bbot ([a-z]+(?: (?:list|show|verify|add|remove|index|rebuild|search|status))?)", code):
        assert words in known, words
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / target).exists(), target


def test_the_tree_in_the_readme_is_complete() -> None:
    tree = README.split("## Where things are")[1].split("```")[1]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for entry in {path.split("/")[0] + "/" for path in tracked if "/" in path} - {".ci/"}:
        assert f"\n{entry}" in tree, entry
    for entry in {path.split("/")[1] for path in tracked if path.startswith("bot/")} - {"__init__.py", "__main__.py"}:
        assert re.search(rf"\b{re.escape(entry)}(/|\s|$)", tree), entry


def test_every_make_target_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path in DOCUMENTS:
        for target in re.findall(
            r"\bmake ([a-z]+)\b(?! sure)", " ".join(re.findall(r"`[^`]*`|^    .*$", path.read_text(), re.M))
        ):
            assert re.search(rf"^{target}:", makefile, re.M), target
