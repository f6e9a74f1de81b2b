"""`bot adapters add`: an adapter that was trained elsewhere → a version whose card says that its origin is claimed.

Configuration, weights and README are copied, nothing else; the copy is verified as serving would, and must do something.
What is not known is left empty on the card: prompt, data, recipe, figures.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bot.adapters.card import Card, write_card
from bot.adapters.verify import CONFIG, METHODS, WEIGHTS, verify
from bot.base import Base
from bot.errors import AdapterError, BotError, NotFound
from bot.files import read_json, sha256_file
from bot.refs import check_name
from bot.training.facts import public_name
from bot.training.gates import effect_gate, refuse_failed
from bot.training.version import README, publish
from bot.types import Adapter

_MAX_CONFIG = 1_000_000
_MAX_README = 64_000
_PATTERNS = [CONFIG, WEIGHTS, README]


def add(source: str, root: Path, base: Base, name: str = "") -> tuple[Adapter, Card]:
    """A PEFT folder or a hub's `owner/name@revision` → the next version under `root`, the workspace's adapters/.

    The name is made from the source's where none is given. Raises NotFound for a source that is not there, AdapterError for
    one that does not fit `base`, TrainingError for one that changes nothing; no trace of it stays then.
    """
    with _found(source) as (folder, origin), tempfile.TemporaryDirectory() as temporary:
        name = check_name("adapter", name or _name_of(origin))
        copy = Path(temporary) / name / "v1"
        copy.mkdir(parents=True)
        try:
            config, readme = _copied(folder, copy)
            draft = _draft(name, origin, base, config)
            _write(copy, config, base)
            files = {file: sha256_file(copy / file) for file in (CONFIG, WEIGHTS)}
            write_card(copy, draft.model_copy(update={"version": 1, "files": files}))
            verify(name, 1, copy, base)
        except BotError as error:
            what = error.what.removeprefix(f"Adapter {name}@1 is refused: ")
            raise AdapterError(f"{source} is refused: {what}", error.hint) from None
        effect = _probe(base, copy)
        refuse_failed([effect])
        draft = draft.model_copy(update={"gates": (effect,)})

        def write_weights(target: Path) -> None:
            for file in (CONFIG, WEIGHTS):
                shutil.copyfile(copy / file, target / file)

        return publish(root / name, base, draft, write_weights, lambda card: _readme(card, config, readme))


@contextmanager
def _found(source: str) -> Iterator[tuple[Path, str]]:
    """The folder, and what others may call it: never a path of this machine."""
    path = Path(os.path.expanduser(source))  # noqa: PTH111 - leaves the name of an unknown person as it is
    if path.is_dir():
        yield path, path.resolve().name
    elif source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise NotFound("folder", source, [], "Give a PEFT folder, or a hub id as owner/name@revision.")
    else:
        with tempfile.TemporaryDirectory() as temporary:
            _download(source, Path(temporary))
            yield Path(temporary), source


def _download(source: str, folder: Path) -> None:
    """Into `folder`, as plain files: configuration, weights and README, never code or pickles."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo, _, revision = source.partition("@")
    if not revision:
        raise AdapterError(f"{source!r} names no revision.", f"Pin it, like {source}@main or a commit's hash.")
    try:
        snapshot_download(repo, revision=revision, local_dir=folder, allow_patterns=_PATTERNS)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        hint = f"The model hub did not give it ({type(error).__name__}): check id and network."
        raise NotFound("adapter", source, [], hint) from None


def _name_of(origin: str) -> str:
    last = origin.partition("@")[0].rpartition("/")[2]
    return re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")


def _copied(folder: Path, target: Path) -> tuple[dict[str, Any], str]:
    """Copy the weights → configuration and README, read from plain files alone."""
    for file in _PATTERNS:
        if (folder / file).is_symlink():
            raise AdapterError(f"{file} is a link.", "An adapter folder holds its own files: copy them in.")
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise AdapterError(
                f"{file} is missing.", f"Give a PEFT folder; pickled weights are not read: save them as {WEIGHTS}."
            )
    if (size := (folder / CONFIG).stat().st_size) > _MAX_CONFIG:
        raise AdapterError(f"{CONFIG} has {size:,} bytes; at most {_MAX_CONFIG:,} are read.", "Restore it from its source.")
    shutil.copyfile(folder / WEIGHTS, target / WEIGHTS)
    readme = ""
    if (folder / README).is_file():
        with (folder / README).open("rb") as file_:
            readme = file_.read(_MAX_README).decode("utf-8", "replace")
    return read_json(folder / CONFIG), readme


def _write(folder: Path, config: dict[str, Any], base: Base) -> None:
    """The configuration as ours are: named after this base, and without what makes PEFT look for other files or code."""
    config = {**config, "base_model_name_or_path": public_name(base), "inference_mode": True, "auto_mapping": None}
    config["revision"] = None
    if config.get("tokenizer_name_or_path"):
        config["tokenizer_name_or_path"] = public_name(base)
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _draft(name: str, origin: str, base: Base, config: dict[str, Any]) -> Card:
    kind = config.get("peft_type")
    method = METHODS.get(kind) if isinstance(kind, str) else None
    if method is None or config.get("task_type") == "SEQ_CLS":
        raise AdapterError(
            f"its method {str(kind)[:40]!r} for {str(config.get('task_type'))[:40]} writes no replies that can be served.",
            "Give a LoRA or a soft prompt; a classifier, whose labels are in no PEFT file, is trained here.",
        )
    return Card(
        name=name, version=0, method=method, made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        base=public_name(base), base_hash=base.hash, tokenizer_hash=base.tokenizer_hash, template_hash=base.template_hash,
        prompt="", prompt_hash="", knowledge="", data={}, recipe={}, seed=None, metrics={}, files={},
        limits="What it was trained on is not known, nor under which prompt. Nothing but its fit to this base was measured.",
        claimed=True, source=origin,
    )  # fmt: skip


def _probe(base: Base, folder: Path) -> Any:
    """The gate of what it does."""
    from bot.engine.local.model import load_tokenizer
    from bot.training.probing import load, logit_change

    return effect_gate(logit_change(load(base, folder), load_tokenizer(base)))


def _readme(card: Card, config: dict[str, Any], readme: str) -> str:
    """Its own README stands indented, as text that nothing renders."""
    named = re.sub(r"[^\w./@-]", " ", str(config.get("base_model_name_or_path"))[:200])
    told = f"it says it was trained on `{named}`"
    shown = "".join(sign for sign in readme if sign.isprintable() or sign == "\n")
    indented = "\n".join(f"    {line}" for line in shown.splitlines()) or "    (none)"
    return (
        f"# {card.name}, version {card.version}\n\nAdded from `{card.source}` on {card.made}; {told}. It was verified and"
        f" probed on `{card.base}`; everything else about it is claimed.\n\n{card.limits}\n\n"
        f"## Its own README\n\n{indented}\n"
    )
