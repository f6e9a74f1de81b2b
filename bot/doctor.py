"""`bot doctor`: what is there, what is missing, and the next step. Looks at everything, changes nothing it need not."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bot.desk import Desk
from bot.errors import BotError, SettingsError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    thing: str
    ok: bool
    finding: str

    def row(self) -> dict[str, str]:
        return {"": "ok" if self.ok else "FAULT", "thing": self.thing, "finding": self.finding}


def examine(desk: Desk) -> list[Finding]:
    """Every check, each on its own, so that one fault does not hide the next."""
    checks: dict[str, Callable[[Desk], str]] = {
        "python": lambda _: f"{platform.python_version()} on {os.cpu_count()} cores",
        "packages": _packages,
        "workspace": _workspace,
        "base": _base,
        "prompts": _prompts,
        "adapters": _adapters,
        "knowledge": _knowledge,
        "embedding": _embedding,
        "database": _database,
        "port": _port,
    }
    findings: list[Finding] = []
    for thing, check in checks.items():
        if any(finding.thing == "workspace" and not finding.ok for finding in findings):
            break  # Everything after it would look for, or make, what is not there.
        try:
            findings.append(Finding(thing, True, check(desk)))
        except BotError as error:
            findings.append(Finding(thing, False, str(error)))
    asyncio.run(desk.close())
    return findings


def _packages(_: Desk) -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "gradio", "chromadb"))


def _workspace(desk: Desk) -> str:
    folder = desk.settings.workspace
    missing = [name for name in ("adapters", "prompts", "knowledge") if not (folder / name).is_dir()]
    if missing:
        raise BotError(
            f"{folder} has no {', '.join(missing)}.", "Give a workspace with --workspace, or make one: bot init DIR."
        )
    if not os.access(folder, os.W_OK):
        raise BotError(f"{folder} cannot be written to.", "Make it writable: var/ is kept there.")
    return str(folder)


def _base(desk: Desk) -> str:
    base = desk.base
    size = sum(path.stat().st_size for path in base.weights) / 1e6
    return f"{base.name}: {base.config.get('model_type')}, {size:.0f} MB, {base.hash[:12]}"


def _prompts(desk: Desk) -> str:
    counts = []
    for name in desk.prompts.names():
        for number in desk.prompts.versions(name):
            desk.prompts.get(f"{name}@{number}")
        counts.append(f"{name} ({len(desk.prompts.versions(name))})")
    if desk.settings.agent.prompt:
        desk.prompts.get(desk.settings.agent.prompt)
    return ", ".join(counts) or "none yet"


def _adapters(desk: Desk) -> str:
    refs = desk.adapters.refs()
    for ref in refs:
        desk.adapters.get(ref)
    desk.adapters.mix(desk.settings.agent.adapters)
    return ", ".join(refs) or "none yet; bot train makes one"


def _knowledge(desk: Desk) -> str:
    from bot.knowledge.store import IndexInUse

    try:
        rows = asyncio.run(desk.knowledge.status())
    except IndexInUse:
        return "in use by another process, such as a running desk"
    return (
        ", ".join(
            f"{r['collection']}: {r['articles']} articles, {'indexed' if r['indexed'] else 'not indexed yet'}" for r in rows
        )
        or "no collection yet"
    )


def _embedding(desk: Desk) -> str:
    from bot.base import MINILM, bundled_encoder

    name = desk.settings.embedding
    if name == MINILM:
        return f"{name} in {bundled_encoder()}"
    return name if Path(name).is_dir() else f"{name} (loaded from the hub at first use)"


def _database(desk: Desk) -> str:
    desk.journal.labels("")
    return desk.journal.address


def _port(desk: Desk) -> str:
    import httpx

    from bot.web.app import listen

    host, port = desk.settings.host, desk.settings.port
    try:
        listen(host, port).close()
    except SettingsError:
        try:
            httpx.get(f"http://{host}:{port}/health", timeout=2).raise_for_status()
        except httpx.HTTPError:
            raise SettingsError(f"{host}:{port} is taken by another program.", "Choose another port: --port.") from None
        return f"{host}:{port}: a desk is running"
    return f"{host}:{port} is free"
