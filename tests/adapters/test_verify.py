"""Corrupt and foreign adapters are refused before they serve, with the reason, in under two seconds."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bot.adapters.card import CARD
from bot.adapters.catalog import AdapterCatalog
from bot.adapters.verify import CONFIG, WEIGHTS, verify
from bot.base import Base, open_base
from bot.bench.shape import describe
from bot.errors import AdapterError, NotFound
from bot.limits import check_mix
from bot.types import Adapter, Mix
from tests.conftest import make_soft_prompt


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "adapters" / "returns" / "v1"))


def edit_weights(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def edit_config(folder: Path, **values: object) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_good_adapter_serves(folder: Path, tiny_base: Base) -> None:
    adapter = verify("returns", 1, folder, tiny_base)
    assert (adapter.ref, adapter.method, len(adapter.hash)) == ("returns@1", "lora", 64)


def truncated(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def not_a_number(folder: Path) -> None:
    edit_weights(folder, lambda w: w[min(w)].fill_(float("nan")))  # type: ignore[attr-defined]


def bit_flip(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-10] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def missing_layer(folder: Path) -> None:
    edit_weights(folder, lambda w: [w.pop(k) for k in list(w) if "layers.1." in k])


def symlink(folder: Path) -> None:
    target = folder.parent / "outside"
    shutil.move(folder / WEIGHTS, target)
    (folder / WEIGHTS).symlink_to(target)


CORRUPTIONS: dict[str, tuple[Callable[[Path], object], bool, str]] = {
    # what is done, whether the card's hashes are made to match afterwards, what the refusal says
    "truncated": (truncated, False, "hash differs"),
    "truncated, card made to match": (truncated, True, "truncated"),
    "empty": (lambda f: (f / WEIGHTS).write_bytes(b""), True, "truncated"),
    "bit flip": (bit_flip, False, "hash differs"),
    "NaN": (not_a_number, True, "NaN"),
    "pickle": (lambda f: (f / "adapter_model.bin").write_bytes(b"x"), False, "pickled"),
    "bad JSON": (lambda f: (f / CONFIG).write_text("{"), True, "not valid JSON"),
    "no config": (lambda f: (f / CONFIG).unlink(), False, "missing"),
    "no card": (lambda f: (f / CARD).unlink(), False, "card"),
    "rank edited": (lambda f: edit_config(f, r=64), True, "rank 64"),
    "fewer layers": (missing_layer, True, "no weights for"),
    "symlink": (symlink, False, "link"),
    "DoRA": (lambda f: edit_config(f, use_dora=True), True, "DoRA"),
    "PiSSA": (lambda f: edit_config(f, init_lora_weights="pissa"), True, "changes the base"),
    "aLoRA": (lambda f: edit_config(f, alora_invocation_tokens=[5]), True, "activation by a phrase"),
    "a list of types": (lambda f: edit_config(f, peft_type=["LORA"]), True, "cannot serve replies"),
    "another method": (lambda f: edit_config(f, peft_type="PREFIX_TUNING"), True, "method"),
    "bias": (lambda f: edit_config(f, bias="all"), True, "bias"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_are_refused_with_the_reason(name: str, folder: Path, tiny_base: Base) -> None:
    corrupt, rewrite_card, reason = CORRUPTIONS[name]
    corrupt(folder)
    if rewrite_card:
        describe(tiny_base, folder)
    start = time.perf_counter()
    with pytest.raises(AdapterError, match=f"(?s)returns@1 is refused.*{reason}") as refused:
        verify("returns", 1, folder, tiny_base)
    assert time.perf_counter() - start < 2
    assert refused.value.hint


def test_an_adapter_of_another_base_of_the_same_shape_is_refused(folder: Path, make_base: Callable[..., Base]) -> None:
    with pytest.raises(AdapterError, match="another base"):
        verify("returns", 1, folder, make_base(seed=7))


def test_an_adapter_of_another_template_is_refused(folder: Path, tiny_base: Base, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_base.path, tmp_path / "base"))
    template = other / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    with pytest.raises(AdapterError, match="another chat template"):
        verify("returns", 1, folder, open_base(str(other)))


@pytest.mark.parametrize(("mix", "says"), [("returns*x", "no weight"), ("returns*-1", "no weight"), ("returns*nan", "no weight"),
                                           ("returns*9", "no weight"), ("returns+returns@1", "twice"), ("returns*", "no weight")])  # fmt: skip
def test_bad_mixes_are_refused(mix: str, says: str, folder: Path, tiny_base: Base) -> None:
    with pytest.raises(AdapterError, match=says):
        AdapterCatalog(folder.parents[1], tiny_base).mix(mix)


def test_the_catalog_reads_names_versions_and_mixes(folder: Path, tiny_base: Base) -> None:
    catalog = AdapterCatalog(folder.parents[1], tiny_base)
    assert catalog.names() == ["returns"]
    assert catalog.mix("") == catalog.mix("base")
    assert str(catalog.mix("returns*0.5")) == "returns@1*0.5"
    assert catalog.mix("returns*0").parts == ()
    assert catalog.mix("returns*0.5").hash != catalog.mix("returns").hash
    for unknown in ("refunds", "returns@4"):
        with pytest.raises(NotFound, match="returns"):
            catalog.get(unknown)


def test_a_version_that_appears_is_offered_without_a_restart(folder: Path, tiny_base: Base) -> None:
    catalog = AdapterCatalog(folder.parents[1], tiny_base)
    assert catalog.get("returns").version == 1
    shutil.copytree(folder, folder.parent / "v2")
    with pytest.raises(AdapterError, match="its card says returns@1"):
        catalog.get("returns")
    describe(tiny_base, folder.parent / "v2")
    assert catalog.get("returns").version == 2


def test_missing_base_folders_are_refused_at_once() -> None:
    start = time.perf_counter()
    for name in ("./no/such/folder", "nowhere", "/no/such"):
        with pytest.raises(NotFound, match="base"):
            open_base(name)
    assert time.perf_counter() - start < 0.5


@pytest.fixture(scope="module")
def good_soft(tiny_base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_soft_prompt(tiny_base, tmp_path_factory.mktemp("soft") / "returns" / "v1", seed=1)


SOFT_CORRUPTIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN": (not_a_number, "NaN"),
    "truncated": (truncated, "truncated"),
    "pickle": (lambda f: (f / "adapter_model.bin").write_bytes(b"x"), "pickled"),
    "another number of tokens": (lambda f: edit_config(f, num_virtual_tokens=4), "4 virtual tokens"),
    "no number of tokens": (lambda f: edit_config(f, num_virtual_tokens="5"), "not prompt_embeddings"),
    "more weights": (lambda f: edit_weights(f, lambda w: w.update(more=torch.ones(1))), "more"),
    "too narrow": (
        lambda f: edit_weights(f, lambda w: w.update(prompt_embeddings=torch.ones(5, 31))),
        r"5 virtual tokens × 32",
    ),
    "says it is a LoRA": (lambda f: edit_config(f, peft_type="LORA"), "its card says soft-prompt"),
}


@pytest.mark.parametrize("name", SOFT_CORRUPTIONS)
def test_corrupt_soft_prompts_are_refused_with_the_reason(
    name: str, good_soft: Path, tiny_base: Base, tmp_path: Path
) -> None:
    corrupt, reason = SOFT_CORRUPTIONS[name]
    folder = Path(shutil.copytree(good_soft, tmp_path / "returns" / "v1"))
    corrupt(folder)
    describe(tiny_base, folder, "soft-prompt")
    with pytest.raises(AdapterError, match=f"(?s)returns@1 is refused.*{reason}"):
        verify("returns", 1, folder, tiny_base)


def test_a_soft_prompt_serves_once_in_a_mix_at_weight_1(
    good: Path, good_soft: Path, tiny_base: Base, tmp_path: Path
) -> None:
    for name, source in (("returns", good), ("one", good_soft), ("two", good_soft)):
        folder = Path(shutil.copytree(source, tmp_path / name / "v1"))
        if name == "two":
            edit_weights(folder, lambda w: w["prompt_embeddings"].add_(1))  # type: ignore[attr-defined]
        describe(tiny_base, folder, "lora" if name == "returns" else "soft-prompt")
    catalog = AdapterCatalog(tmp_path, tiny_base)
    mix = catalog.mix("returns*0.7+one")
    assert (mix.soft_prompt, mix.virtual_tokens) == (catalog.get("one"), 5)
    assert mix.loras == ((catalog.get("returns"), 0.7),)
    assert catalog.mix("one*0+two").soft_prompt == catalog.get("two")
    for text, says in (("one*0.5", "other weight than 1.*Write one@1"), ("one+two", "2 soft prompts.*Keep one")):
        with pytest.raises(AdapterError, match=says):
            catalog.mix(text)


def test_a_classifier_is_never_part_of_a_mix() -> None:
    classifier = Adapter("mood", 1, Path("unused"), "f" * 64, "classifier")
    with pytest.raises(AdapterError, match=r"mood@1 is a classifier.*Leave it out"):
        check_mix(Mix(((classifier, 1.0),)))
