"""The report's page tells the JSON's figures, runs nothing, loads nothing, and shows hostile text as text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import markdown_it
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.evaluation.choice import between
from bot.evaluation.measured import FACTS_RIGHT
from bot.evaluation.report import write_report
from bot.evaluation.report.markdown import as_markdown, text
from bot.evaluation.report.scale import scale_of
from bot.evaluation.report.view import View
from bot.evaluation.report.words import size, style
from bot.evaluation.report.write import as_page
from bot.evaluation.results import Advice, Comparison, ComparisonTable, Example, ExampleReply, Report
from bot.evaluation.shelf import newest, page
from bot.runs.folder import EVALUATION, Runs
from tests.evaluation.made_up import FAILED, WINNER, sample_report

ATTACK = "<script>alert(1)</script>\"'><img src=https://evil.example/x onerror=y> {{ 7 * 7 }} | [a](b)"
LOADING = {"src", "href", "data", "action", "poster", "srcset", "xlink:href", "background"}


class Page(HTMLParser):
    """Tags, visible text, and the exact figures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.figures: set[float] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name in LOADING:
                assert (value or "").startswith("#"), f"{tag} {name}={value} leaves the page"
                self.links.add((value or "")[1:])
            if name == "id":
                self.ids.add(value or "")
        if tag == "data":
            self.figures.add(float(dict(attrs)["value"] or "nan"))

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile() -> Report:
    one = sample_report().examples[0]
    example = Example(
        item=ATTACK, history=(f"customer: {ATTACK}",), reference=ATTACK, passages=(ATTACK,),
        replies=(ExampleReply(arm=ATTACK, text=ATTACK, reasoning=ATTACK),),
    )  # fmt: skip
    return sample_report(
        scenario=ATTACK, command=ATTACK, machine=ATTACK, notes=(ATTACK,), inputs={ATTACK: ATTACK}, examples=(example, one),
        advice=Advice(arm=WINNER, headline=ATTACK, reasons=(ATTACK,)),
        table=ComparisonTable(columns=(ATTACK,), rows=((ATTACK, (ATTACK,)),)),
    )  # fmt: skip


@pytest.mark.parametrize("report", [sample_report(), hostile()], ids=["sample", "hostile"])
def test_the_page_runs_nothing_and_loads_nothing(report: Report) -> None:
    html = as_page(report)
    found = Page(html)
    assert not found.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert found.links <= found.ids, "every link leads somewhere on the page"
    assert "url(" not in html.partition("</style>")[0]
    assert "@import" not in html
    assert "default-src &#39;none&#39;" in html


def test_hostile_text_is_shown_as_text_everywhere() -> None:
    report = hostile()
    assert Page(as_page(report)).text.count("<script>alert(1)</script>") >= 12
    rendered = markdown_it.MarkdownIt().enable("table").render(as_markdown(report))
    assert "&lt;script" in rendered
    assert not re.search("<(script|img|a) ?", rendered)


def test_every_figure_is_the_jsons(tmp_path: Path) -> None:
    write_report(sample_report(), tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert Report.model_validate(report) == sample_report()
    shown = Page((tmp_path / "report.html").read_text()).figures
    for measure in report["measures"]:
        assert {figure["mean"] for figure in measure["figures"]} <= shown
        assert {pair["mean"] for pair in measure["comparisons"]} <= shown
    assert {arm["accuracy"] for task in report["labels"] for arm in task["arms"] if not arm["failure"]} <= shown
    assert {arm["recall"] for arm in report["hand_off"]["arms"]} <= shown


def test_a_lead_reads_verdict_notes_failures_and_provenance() -> None:
    report = sample_report()
    told = Page(as_page(report)).text
    place = [
        told.index(part)
        for part in (report.advice.headline, report.notes[0], "The arms at a glance", "Every input, by its hash")
    ]
    assert place == sorted(place)
    assert f"{FAILED} failed." in told
    assert told.count("Reasoning, hidden from the customer") == 2 * len(report.examples)
    for hash in report.inputs.values():
        assert hash in told
    assert "None" not in told
    assert report.command in told
    for word in ("▲\xa0better", "▼\xa0worse", "=\xa0tie"):
        assert word in told


def test_a_report_of_nothing_is_still_a_page(tmp_path: Path) -> None:
    report = sample_report(
        measures=(), costs=(), labels=(), hand_off=None, curve=None, examples=(), table=ComparisonTable(columns=(), rows=()),
        advice=Advice(arm="", headline="Nothing can be said.", reasons=()),
    )  # fmt: skip
    write_report(report, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]
    assert "Nothing can be said." in (tmp_path / "report.md").read_text()


def test_markdown_has_every_arm_with_as_many_cells(tmp_path: Path) -> None:
    write_report(sample_report(), tmp_path)
    lines = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("| ")]
    arms = lines[:16]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in arms}) == 1
    assert [line for line in arms if line.startswith(f"| **{WINNER}**")]
    picture = (tmp_path / "curve.svg").read_text()
    assert picture.startswith("<svg xmlns=")
    assert FACTS_RIGHT in picture
    Page(picture)


def test_a_comparison_can_be_read_from_either_side() -> None:
    measure = sample_report().measures[0]
    there = between(measure, "few-shot", "base")
    back = between(measure, "base", "few-shot")
    assert there
    assert back
    assert (there.verdict, back.verdict) == ("better", "worse")
    assert (back.mean, back.low, back.high) == (-there.mean, -(there.high or 0), -(there.low or 0))
    assert View(sample_report()).rival == "base"


def test_without_an_interval_there_is_a_dot_and_a_question_mark() -> None:
    report = sample_report()
    measure = report.measures[0]
    bare = measure.model_copy(
        update={
            "figures": tuple(one.model_copy(update={"low": None, "high": None}) for one in measure.figures),
            "comparisons": (Comparison(arm="adapter", other="base", mean=0.1, low=None, high=None, verdict="too few", needed=40),),
        }
    )  # fmt: skip
    html = as_page(report.model_copy(update={"measures": (bare,)}))
    assert "?\xa0too few" in Page(html).text
    assert "interval with" not in html


@given(numbers=st.lists(st.floats(-1e6, 1e6), max_size=8))
def test_every_number_has_its_place_on_its_scale(numbers: list[float]) -> None:
    scale = scale_of(numbers)
    assert all(0 <= scale.place(number) <= 100 for number in numbers)
    assert all(scale.low <= tick <= scale.high or abs(tick) < 1e-6 for tick in scale.ticks())
    assert len(scale.ticks()) <= 7


@given(raw=st.text())
def test_a_markdown_cell_is_one_line_without_html(raw: str) -> None:
    said = text(raw)
    assert "\n" not in said
    assert not re.search(r"(?<!\\)[|<>\[]", said.replace("\\\\", ""))


def test_figures_have_three_digits() -> None:
    assert style("share", [0.123456]).full(0.123456) == "12.3 %"
    assert style("nats", [3.14159]).value(3.14159) == "3.14"
    assert style("points", [431.2]).value(431.2) == "431"
    assert style("", [0.5]).difference(-0.0001) == "0.000"
    assert style("", [0.5]).difference(-0.25) == "−0.250"
    assert [size(count) for count in (0, 999, 1_421_312, 12_000_000_000)] == ["0 bytes", "999 bytes", "1.4 MB", "12.0 GB"]


def test_the_shelf_gives_the_newest_finished_report_of_a_domain(tmp_path: Path) -> None:
    assert newest(tmp_path, "returns") is None
    runs = Runs(tmp_path, EVALUATION)
    for headline, state, name in (
        ("old", "done", "returns"),
        ("new", "done", "returns"),
        ("cut", "failed", "returns"),
        ("x", "done", "billing"),
    ):
        folder = runs.start(name, name, [], 1)
        write_report(sample_report(advice=Advice(arm="", headline=headline, reasons=())), folder.path)
        folder.change(state=state)
    found = newest(tmp_path, "returns")
    assert found
    assert found.advice.headline == "new"
    assert newest(tmp_path, "returns") is found, "read once"
    latest = next(folder for folder in runs.all() if folder.run.name == "returns" and folder.run.state == "done")
    (latest.path / "report.json").write_text("{}")
    older = newest(tmp_path, "returns")
    assert older
    assert older.advice.headline == "old"
    assert page(tmp_path, latest.run.id) == latest.path / "report.html"
    for id in ("..", f"../evaluations/{latest.run.id}", "nothing"):
        with pytest.raises(Exception, match="There is no report"):
            page(tmp_path, id)
