"""What every kind of adapter folder is checked for: its own files as they were trained, and what it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bot.adapters.card import CARD, Card, read_card
from bot.base import Base
from bot.errors import AdapterError
from bot.files import sha256_file

_CHOSEN_BY = {"base": "--base", "encoder": "the setting encoder:"}


def check_files(folder: Path, needed: tuple[str, str]) -> Card:
    """The card of a folder that holds `needed`, configuration and weights, with every file as the card has it; no links, no
    pickles. Raises AdapterError."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise AdapterError(f"{path.name} is a link.", "An adapter folder holds its own files: copy them in.")
        if path.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt"):
            raise AdapterError(
                f"{path.name} is pickled, and unpickling can run code.", f"Save the weights as {needed[1]} instead."
            )
    for file in needed:
        if not (folder / file).is_file():
            raise AdapterError(f"{file} is missing.", "Restore the folder or train the adapter again.")
    card = read_card(folder)
    for file in needed:
        if file not in card.files:
            raise AdapterError(f"{CARD} names no hash for {file}.", "Train the adapter again.")
    for file, expected in card.files.items():
        path = folder / file
        if not path.is_file() or path.resolve().parent != folder.resolve():
            raise AdapterError(f"{file}, which {CARD} names, is missing.", "Restore the folder from its source.")
        if sha256_file(path) != expected:
            raise AdapterError(f"{file} is not the file that was trained: its hash differs.", "Restore it from its source.")
    return card


def check_base(card: Card, base: Base, kind: Literal["base", "encoder"] = "base") -> None:
    """Raises AdapterError unless the card was made on `base`, which is the desk's base or its encoder."""
    for what, trained, here in (
        ("chat template", card.template_hash, base.template_hash),
        ("tokenizer", card.tokenizer_hash, base.tokenizer_hash),
        (kind, card.base_hash, base.hash),
    ):
        if trained != here:
            raise AdapterError(
                f"it was trained on another {what} ({card.base}, {trained[:12]}) than this one ({base.name}, {here[:12]}).",
                f"Serve it with {_CHOSEN_BY[kind]} {card.base}, or train it again on {base.name}.",
            )


def check_labels(labels: tuple[str, ...]) -> None:
    """Raises AdapterError unless they can be told apart."""
    if len({label.strip() for label in labels} - {""}) < max(2, len(labels)):
        raise AdapterError(f"its card names the labels {list(labels)}.", "A classifier has two or more, each once.")
