"""What agents of the demo desk answer to a list of messages, as it comes: for readers to judge, and for README's table.

python tests/load/answers.py tests/load/newcomer.yaml --out tests/load/results/newcomer.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from bot.desk import Desk
from bot.settings import Settings
from bot.types import AgentSpec, Message, Turn

ROOT = Path(__file__).parents[2]


async def converse(desk: Desk, agent: AgentSpec, said: list[str]) -> dict[str, Any]:
    """One conversation; its last reply with the passages it rested on."""
    messages: tuple[Message, ...] = ()
    for text in said:
        messages += (Message("user", text),)
        answer = await desk.agent.ainvoke(Turn(messages, agent))
        if answer.reply.strip():
            messages += (Message("assistant", answer.reply),)
    return {"reply": answer.reply, "passages": [passage.id for passage in answer.passages]}


async def ask(sheet: dict[str, Any]) -> list[dict[str, Any]]:
    """Every question to every agent, in a copy of the demo's folders."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for room in ("adapters", "prompts", "knowledge"):
            shutil.copytree(ROOT / room, Path(folder) / room)
        desk = Desk(Settings(workspace=Path(folder)))
        for question in sheet["questions"]:
            said = question if isinstance(question, list) else [question]
            answers = {name: await converse(desk, AgentSpec(**spec), said) for name, spec in sheet["agents"].items()}
            rows.append({"question": question, "answers": answers})
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
        await desk.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = asyncio.run(ask(yaml.safe_load(options.sheet.read_text())))
    found = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "command": f"python tests/load/answers.py {options.sheet}",
             "rows": rows}  # fmt: skip
    options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
