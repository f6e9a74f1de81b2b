"""Training's figures, D1 to D8 without D5: speed beside TRL, resuming, corrupt adapters, what a LoRA gains, what the gates
refuse, personal data, the demo's own training.

    python -m tests.load.train --data D --out tests/load/results/train.json [--only D1 D2 …]

`D` is a folder with `cucom_ecommerce.jsonl.gz`, 5,400 complaint chats. D1 needs `trl` beside what is installed here
(`pip install --no-deps --target T trl==1.16.0`, then PYTHONPATH=T). On a machine that does nothing else; about two hours on
two cores. Rows measured before are kept: the parts can be run one after the other.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bot.bench.rows import Row
from tests.load import train_demo, train_faults, train_gain, train_gates, train_speed
from tests.load.keeping import circumstances, keep
from tests.load.train_common import Bench

PARTS: dict[str, Callable[[Bench], Sequence[Row]]] = {
    "D1": train_speed.measure,
    "D2": train_faults.resuming,
    "D3": train_faults.corrupt,
    "D4": train_gain.measure,
    "D6": train_gates.refused,
    "D6b": train_gates.false_alarms,
    "D7": train_faults.personal_data,
    "D8": train_demo.measure,
}


def conversations(source: Path, out: Path) -> None:
    """The chats as JSONL that transcripts are read from."""
    lines = []
    with gzip.open(source, "rt", encoding="utf-8") as file:
        for line in file:
            chat = json.loads(line)
            messages = [{"role": turn["role"].lower(), "content": turn["text"]} for turn in chat["turns"]]
            lines.append(json.dumps({"id": chat["id"], "messages": messages}, ensure_ascii=False))
    # Not the hash that training splits by: the first ones would all be held out.
    lines.sort(key=lambda line: hashlib.sha256(f"bench {json.loads(line)['id']}".encode()).hexdigest())
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=sorted(PARTS), default=sorted(PARTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chats = Path(folder) / "chats.jsonl"
        conversations(options.data / "cucom_ecommerce.jsonl.gz", chats)
        for part in options.only:
            measured = circumstances(f"python -m tests.load.train --only {part}")
            keep(options.out, PARTS[part](Bench(Path(folder), chats)), measured)


if __name__ == "__main__":
    main()
