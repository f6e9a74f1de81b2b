"""Put the latest results into README: `python -m tests.load.readme`."""

from __future__ import annotations

from pathlib import Path

from bot.bench.table import put, table
from bot.evaluation.gate import read_report
from bot.evaluation.report.markdown import as_markdown
from bot.files import read_json

ROOT = Path(__file__).parents[2]
PROOF = Path("docs") / "proof"
"""Where the demo's report lies."""


def filled(readme: str) -> str:
    """The speed's table, and the proof on the demo with its learning curve."""
    readme = put(readme, "bench", table(read_json(ROOT / "tests" / "load" / "results" / "serve.json")))
    report = read_report(ROOT / PROOF / "report.json")
    picture = f"![The learning curve: what transcripts buy, beside the best prompt]({PROOF / 'curve.svg'})"
    return put(readme, "proof", f"{as_markdown(report)}\n{picture}")


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text()))
