"""An adapter from elsewhere becomes a claimed version, or leaves nothing; a version that customers need stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bot.adapters.card import CARD
from bot.adapters.catalog import AdapterCatalog
from bot.adapters.remove import remove
from bot.adapters.verify import CONFIG, WEIGHTS
from bot.base import Base
from bot.errors import AdapterError, BotError, Conflict, NotFound, TrainingError
from bot.training.foreign import add
from bot.training.version import README
from tests.conftest import make_adapter, make_classifier, make_soft_prompt


@pytest.fixture(scope="module")
def made(tiny_base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_adapter(tiny_base, tmp_path_factory.mktemp("made") / "made" / "v1", seed=1)
    (folder / CARD).unlink()
    return folder


@pytest.fixture
def foreign(made: Path, tmp_path: Path) -> Path:
    """As somebody else's run left it, with files beside it that are nobody's business here."""
    folder = Path(shutil.copytree(made, tmp_path / "Friendly_Tone-LoRA"))
    (folder / README).write_text("# Friendly\x1b[31m\n<script>x</script>\n" + "long " * 50_000)
    (folder / "training_args.bin").write_bytes(b"pickled")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "adapters"


def test_it_becomes_a_claimed_version_that_serves(foreign: Path, root: Path, tiny_base: Base) -> None:
    adapter, card = add(str(foreign), root, tiny_base)
    assert adapter.ref == "friendly-tone-lora@1"
    assert AdapterCatalog(root, tiny_base).get("friendly-tone-lora") == adapter
    assert (card.claimed, card.source, card.base_hash) == (True, "Friendly_Tone-LoRA", tiny_base.hash)
    assert (card.prompt, card.data, card.recipe, card.seed, card.metrics) == ("", {}, {}, None, {})
    assert [(gate.name, gate.ok) for gate in card.gates] == [("effect", True)]
    assert {path.name for path in adapter.path.iterdir()} == {CARD, CONFIG, WEIGHTS, README}
    readme = (adapter.path / README).read_text()
    assert "claimed" in readme
    assert "\n    <script>x</script>\n" in readme
    assert "\x1b" not in readme
    assert len(readme) < 70_000
    assert str(foreign.parent) not in "".join((adapter.path / name).read_text() for name in (CARD, CONFIG, README))
    assert add(str(foreign), root, tiny_base, "other")[0].ref == "other@1"
    assert add(str(foreign), root, tiny_base, "other")[0].ref == "other@2"


def test_a_soft_prompt_is_taken_too(root: Path, tiny_base: Base, tmp_path: Path) -> None:
    folder = make_soft_prompt(tiny_base, tmp_path / "made" / "v1", seed=1)
    assert add(str(folder), root, tiny_base, "tone")[0].virtual_tokens == 5


def zeroed(folder: Path) -> None:
    weights = {k: torch.zeros_like(v) if "lora_B" in k else v for k, v in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS)


def edited(**values: object) -> Callable[[Path], object]:
    return lambda f: (f / CONFIG).write_text(json.dumps({**json.loads((f / CONFIG).read_text()), **values}))


def linked(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "outside")
    (folder / WEIGHTS).symlink_to(folder.parent / "outside")


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (zeroed, TrainingError, "'effect'.*limit 0.01"),
        (edited(r=64), AdapterError, "not rank 64"),
        (edited(use_dora=True), AdapterError, "DoRA"),
        (edited(peft_type="IA3"), AdapterError, "IA3"),
        (edited(peft_type=["LORA"]), AdapterError, "writes no replies"),
        (edited(padding="x" * 1_000_001), AdapterError, "at most 1,000,000"),
        (linked, AdapterError, "is a link"),
        (lambda f: (f / WEIGHTS).rename(f / "adapter_model.bin"), AdapterError, "is missing.*pickled weights are not read"),
        (lambda f: (f / WEIGHTS).write_bytes(b"12345678"), AdapterError, "truncated"),
        (lambda f: (f / CONFIG).write_text("["), AdapterError, "not valid JSON"),
        (lambda f: (f / CONFIG).unlink(), AdapterError, "is missing"),
        (lambda f: shutil.rmtree(f), NotFound, "owner/name@revision"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    spoil: Callable[[Path], object], error: type[BotError], says: str, foreign: Path, root: Path, tiny_base: Base
) -> None:
    spoil(foreign)
    with pytest.raises(error, match=f"(?s){says}") as refused:
        add(str(foreign), root, tiny_base)
    assert refused.value.hint
    assert not list(root.rglob("*"))


def test_another_bases_adapter_and_a_classifier_are_refused(
    foreign: Path, root: Path, make_base: Callable[..., Base], tiny_base: Base, tmp_path: Path
) -> None:
    with pytest.raises(AdapterError, match="has shapes"):
        add(str(foreign), root, make_base(hidden_size=16))
    with pytest.raises(AdapterError, match="no weights for"):
        add(str(foreign), root, make_base(num_hidden_layers=3))
    classifier = make_classifier(tiny_base, tmp_path / "mood" / "v1", seed=1)
    with pytest.raises(AdapterError, match="SEQ_CLS"):
        add(str(classifier), root, tiny_base, "mood")


def test_from_a_hub_only_named_files_of_a_pinned_revision_are_asked_for(
    foreign: Path, root: Path, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def snapshot_download(repo: str, *, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        asked.append({"repo": repo, "revision": revision, "patterns": allow_patterns})
        if repo == "owner/away":
            raise OSError("no network")
        for name in allow_patterns:
            shutil.copyfile(foreign / name, local_dir / name)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    adapter, card = add("owner/Kind.Words@abc123", root, tiny_base)
    assert (adapter.ref, card.source) == ("kind-words@1", "owner/Kind.Words@abc123")
    assert asked == [{"repo": "owner/Kind.Words", "revision": "abc123", "patterns": [CONFIG, WEIGHTS, README]}]
    with pytest.raises(AdapterError, match="names no revision"):
        add("owner/name", root, tiny_base)
    with pytest.raises(NotFound, match="check id and network"):
        add("owner/away@main", root, tiny_base)


def test_a_version_is_removed_unless_customers_need_it(foreign: Path, root: Path, tiny_base: Base) -> None:
    for _ in range(2):
        add(str(foreign), root, tiny_base, "tone")
    catalog = AdapterCatalog(root, tiny_base)
    for mix in ("tone@1*0.7", "other+tone@1"):
        with pytest.raises(Conflict, match="customers meet"):
            remove(catalog, "tone@1", mix)
    with pytest.raises(AdapterError, match="names no version"):
        remove(catalog, "tone", "")
    with pytest.raises(NotFound, match="tone@2"):
        remove(catalog, "tone@7", "")
    assert remove(catalog, "tone@2", "tone*0.7") == "tone@2"
    assert catalog.versions("tone") == [1]
    with pytest.raises(Conflict, match="customers meet"):
        remove(catalog, "tone@1", "tone")
    assert sorted(path.name for path in (root / "tone").iterdir()) == ["v1", "v2.removed"]
    assert add(str(foreign), root, tiny_base, "tone")[0].ref == "tone@3", "a number is given once"
