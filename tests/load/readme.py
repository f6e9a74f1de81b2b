"""Put the latest results into README: `python -m tests.load.readme`."""

from __future__ import annotations

from pathlib import Path

from bot.bench.table import put, table
from bot.files import read_json

ROOT = Path(__file__).parents[2]


def filled(readme: str) -> str:
    """With the tables of speed and training."""
    results = ROOT / "tests" / "load" / "results"
    readme = put(readme, "bench", table(read_json(results / "serve.json")))
    trained = read_json(results / "train.json")
    days = sorted({row["measured"]["made"].partition("T")[0] for row in trained["rows"]})
    parts = {"made": " and ".join(days), "command": "make bench-train DATA=FOLDER, part by part"}
    return put(readme, "train", table(trained | parts))


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text()))
