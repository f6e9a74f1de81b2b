"""Put the latest results into README's tables: `python tests/load/readme.py`."""

from __future__ import annotations

import json
from pathlib import Path

from bot.bench.table import put_table

ROOT = Path(__file__).parents[2]

if __name__ == "__main__":
    readme = ROOT / "README.md"
    report = json.loads((ROOT / "tests" / "load" / "results" / "serve.json").read_text())
    readme.write_text(put_table(readme.read_text(), report))
