"""A case is added or taken out without touching what people wrote, or the file stays as it was."""

from __future__ import annotations

import errno
import os
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import PromptError
from bot.prompts.case_file import add_case, take_case
from bot.prompts.cases import FILE, Case, Cases, read_cases
from tests.conftest import ROOT

CASE = Case.model_validate({"message": "New?", "expect": [{"contains": "{{yes}}"}, {"not_contains": "no"}]})
ADDED = """# From feedback on turn 7, by mika.
- message: New?
  expect:
  - contains: '{{yes}}'
  - not_contains: 'no'
"""
BLOCK = """# The desk's own cases.
cases:
    # about returns
    - message: "One?"   # the first
      expect:
        - contains: |
            two
            lines
    # a remark behind it

# the rules
every_reply:
- max_sentences: 2
"""


def added(folder: Path, text: str | None, case: Case = CASE) -> str:
    if text is not None:
        (folder / FILE).write_text(text)
    add_case(folder, case, "From feedback on turn 7, by mika.")
    return (folder / FILE).read_text()


def test_it_stands_behind_the_last_one_and_comments_stay(tmp_path: Path) -> None:
    made = added(tmp_path, BLOCK)
    new = textwrap.indent(ADDED, "    ")
    assert made.replace(new, "") == BLOCK
    assert made.index("lines") < made.index("New?") < made.index("# a remark behind it")
    assert [case.title for case in read_cases(tmp_path).cases] == ["One?", "New?"]


@pytest.mark.parametrize("text", [None, "every_reply: [{max_sentences: 2}]", "# nothing yet\nevery_reply: []\n"])
def test_it_may_be_the_first_one(tmp_path: Path, text: str | None) -> None:
    assert added(tmp_path, text).startswith(text or "cases:")
    assert read_cases(tmp_path).cases == [CASE]


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ('cases: [{message: "One?", expect: [{contains: x}]}]', ["One?"]),
        ('cases: [{message: "One?",\n expect: [{contains: x}]}, {message: Two, expect: [{regex: y}]}]\n', ["One?", "Two"]),
        ("cases: []  # none yet\n# the rules\nevery_reply: [{max_sentences: 2}]\n", []),
        ("cases:\n  []\nevery_reply:\n- max_sentences: 2\n", []),
    ],
)
def test_a_list_on_one_line_is_written_one_below_the_other(tmp_path: Path, text: str, known: list[str]) -> None:
    made = added(tmp_path, text)
    assert [case.title for case in read_cases(tmp_path).cases] == [*known, "New?"]
    assert len(read_cases(tmp_path).every_reply) == ("every_reply" in text)
    assert all(line in made for line in text.splitlines() if line.startswith(("#", "every_reply", "-")))
    assert ("# none yet" in made) == ("# none yet" in text)
    added(tmp_path, None, CASE.model_copy(update={"name": "again", "message": "Newer?"}))
    assert len(read_cases(tmp_path).cases) == len(known) + 2


@pytest.mark.parametrize("path", sorted(ROOT.glob("prompts/*/cases.yaml")), ids=lambda p: p.parent.name)
def test_the_shipped_files_take_one(tmp_path: Path, path: Path) -> None:
    text = path.read_text()
    assert added(tmp_path, text) == text + "".join(f"  {line}\n" for line in ADDED.splitlines())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{every_reply: [{max_sentences: 2}]}\n", "one below the other"),
        ("cases:\n- {message: 'New?', expect: [{contains: x}]}\n", "there twice"),
        ("cases: 3\n", "not valid"),
        ("", "not keys and values"),
    ],
)
def test_what_does_not_fit_is_told_and_the_file_stays(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(PromptError, match=fault):
        added(tmp_path, text)
    assert (tmp_path / FILE).read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@given(
    message=st.text(min_size=1, max_size=80).filter(lambda text: text.encode("utf-8", "replace").decode() == text),
    column=st.sampled_from(["", "  "]),
)
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, message: str, column: str) -> None:
    folder = tmp_path_factory.mktemp("cases")
    case = Case.model_validate({"name": "theirs", "message": message, "expect": [{"contains": message}]})
    added(folder, f"cases:\n{column}- {{message: 'One?', expect: [{{contains: x}}]}}\n", case)
    assert read_cases(folder).cases[-1] == case


def test_of_many_writers_none_is_lost(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(BLOCK)
    cases = [CASE.model_copy(update={"name": f"case {number}"}) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda case: add_case(tmp_path, case, "x"), cases))
    assert {case.title for case in read_cases(tmp_path).cases} == {"One?", *(case.name for case in cases)}


@pytest.mark.parametrize("second", [OSError(errno.EIO, os.strerror(errno.EIO)), PromptError("cases.yaml is not valid.")])
def test_the_first_error_is_told_where_nothing_can_be_read_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: Exception
) -> None:
    raised = iter([OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), second])

    def failing(folder: Path) -> Cases:
        raise next(raised)

    monkeypatch.setattr("bot.prompts.case_file.read_cases", failing)
    with pytest.raises(PromptError, match="not certain that the case was saved: No space left"):
        added(tmp_path, BLOCK)
    assert (tmp_path / FILE).read_text() == BLOCK


def test_what_is_taken_out_is_what_was_added_and_it_can_be_written_again(tmp_path: Path) -> None:
    added(tmp_path, BLOCK)
    assert take_case(tmp_path, "New?", "Taken out by ada: 'New?'") == ADDED, "its remark goes with it"
    assert (tmp_path / FILE).read_text() == f"{BLOCK}# Taken out by ada: 'New?'\n"
    taken = take_case(tmp_path, "One?", "Taken out by ada: 'One?'")
    assert taken.startswith("# about returns\n")
    assert "# the rules\nevery_reply:\n- max_sentences: 2\n" in (tmp_path / FILE).read_text()
    assert read_cases(tmp_path).cases == []
    assert added(tmp_path, None)
    assert read_cases(tmp_path).cases == [CASE]
    (tmp_path / FILE).write_text(f"cases:\n{taken}")
    assert [case.title for case in read_cases(tmp_path).cases] == ["One?"]


@pytest.mark.parametrize(
    "text",
    [
        'cases: [{message: "One?", expect: [{contains: x}]}, {message: Two, expect: [{regex: y}]}]  # all\n# end\n',
        "# all\ncases:\n- message: One?\n  expect: [{contains: x}]\n\n# of two\n-\n  message: Two\n"
        "  expect:\n  - regex: |-\n      y\n# end",
    ],
)
@pytest.mark.parametrize("title", ["One?", "Two"])
def test_one_of_two_is_taken_out(tmp_path: Path, text: str, title: str) -> None:
    (tmp_path / FILE).write_text(text)
    before = {case.title: case for case in read_cases(tmp_path).cases}
    take_case(tmp_path, title, "x")
    del before[title]
    assert read_cases(tmp_path).cases == list(before.values())
    made = (tmp_path / FILE).read_text()
    assert "# all" in made
    assert "# end\n# x\n" in made


def test_what_looks_like_a_comment_in_a_text_stays(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(
        "cases:\n- expect: [{contains: x}]\n  message: |-\n    a\n    # b\n- {message: Two, expect: [{regex: y}]}\n"
    )
    take_case(tmp_path, "Two", "x")
    assert [case.message for case in read_cases(tmp_path).cases] == ["a\n# b"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (BLOCK, "no case “New.” any more"),
        ("cases:\n-\n  # - odd\n  message: New?\n  expect: [{contains: x}]\n", "none can be taken out"),
        ("{ broken", "not valid YAML"),
    ],
)
def test_what_cannot_be_taken_out_is_told_and_the_file_stays(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(PromptError, match=fault):
        take_case(tmp_path, "New?", "x")
    assert (tmp_path / FILE).read_text() == text


def test_a_disk_that_refuses_leaves_the_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / FILE).write_text(BLOCK)
    monkeypatch.setattr("bot.prompts.case_file.write_atomic", full)
    with pytest.raises(PromptError, match="The case was not taken out: No space left"):
        take_case(tmp_path, "One?", "x")
    assert (tmp_path / FILE).read_text() == BLOCK
