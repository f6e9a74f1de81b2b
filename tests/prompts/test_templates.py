"""A prompt begun from a template has its cases, or is not there; what people wrote stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bot.desk import Desk
from bot.errors import Conflict, PromptError
from bot.prompts.cases import FILE
from bot.refs import BadName
from bot.skeleton.templates import begin, get_template


def test_cases_that_somebody_wrote_are_not_overwritten(desk: Desk) -> None:
    path = desk.prompts.root / "mine" / FILE
    path.parent.mkdir()
    path.write_text("every_reply: [{max_sentences: 1}]\n")
    with pytest.raises(Conflict, match="other cases"):
        begin(desk.prompts, "mine", "apologise", "mika")
    assert path.read_text() == "every_reply: [{max_sentences: 1}]\n"
    assert "mine" not in desk.prompts.names()


@pytest.mark.parametrize("number", [1, 2])
def test_a_full_disk_is_told_and_beginning_again_does_all(desk: Desk, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    calls = [0]
    real = os.link

    def full(source: str, target: Path) -> None:
        calls[0] += 1
        if calls[0] == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.link", full)
        with pytest.raises(PromptError, match="No space left"):
            begin(desk.prompts, "mine", "apologise", "mika")
    assert "mine" not in desk.prompts.names()
    assert begin(desk.prompts, "mine", "apologise", "mika").ref == "mine@1"
    assert (desk.prompts.root / "mine" / FILE).read_text() == get_template("apologise")[1]


def test_a_copy_has_the_cases_of_its_source(desk: Desk) -> None:
    (desk.prompts.root / "support" / FILE).write_text("every_reply: [{max_sentences: 1}] # short\n")
    assert begin(desk.prompts, "mine", "support@production", "mika").prompt.role == desk.prompts.get("support@1").prompt.role
    assert (desk.prompts.root / "mine" / FILE).read_text() == "every_reply: [{max_sentences: 1}] # short\n"


def test_what_could_not_be_read_again_leaves_nothing(desk: Desk) -> None:
    with pytest.raises(PromptError, match="author"):
        begin(desk.prompts, "mine", "apologise", "m" * 300)
    assert not (desk.prompts.root / "mine").exists()


@pytest.mark.parametrize("name", ["../mine", "scenarios", "A b"])
def test_a_name_that_is_none_writes_nothing(desk: Desk, name: str) -> None:
    before = sorted(desk.prompts.root.parent.rglob("*"))
    with pytest.raises((BadName, PromptError)):
        begin(desk.prompts, name, "apologise", "mika")
    assert sorted(desk.prompts.root.parent.rglob("*")) == before
