"""Classifiers on an encoder: corrupt and foreign folders are refused with the reason; good ones give the labels that a
plain model gives, read once and kept within the limit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bot.adapters.encoder import CONFIG, WEIGHTS, layer_shapes
from bot.adapters.verify import verify
from bot.base import Base, open_encoder
from bot.bench.shape import describe
from bot.engine.local.encoder import EncoderClassifiers, load_encoder, load_encoder_tokenizer, pooled, read_texts
from bot.engine.remote import RemoteEngine
from bot.engine.scripted import ScriptedEngine
from bot.errors import AdapterError, NotAvailable, NotFound
from bot.types import Adapter

LABELS = ("refund", "delivery", "other")


def make(encoder: Base, folder: Path, seed: int = 1, layers: int = 1) -> Path:
    """A random classifier with its card, as training would leave it."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    weights = {name: torch.randn(shape).half() * 0.3 for name, shape in layer_shapes(encoder, layers).items()}
    weights |= {"head.weight": torch.randn(len(LABELS), 32).half(), "head.bias": torch.randn(len(LABELS)).half()}
    save_file(weights, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"layers": layers, "max_tokens": 16}))
    describe(encoder, folder, "classifier", LABELS)
    return folder


@pytest.fixture(scope="module")
def good(tiny_encoder: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tiny_encoder, tmp_path_factory.mktemp("adapters") / "intent" / "v1")


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "intent" / "v1"))


@pytest.fixture(scope="module")
def classifier(good: Path, tiny_base: Base, tiny_encoder: Base) -> Adapter:
    return verify("intent", 1, good, tiny_base, tiny_encoder)


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def edit_config(folder: Path, **values: object) -> None:
    (folder / CONFIG).write_text(json.dumps({**json.loads((folder / CONFIG).read_text()), **values}))


def truncated(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def symlink(folder: Path) -> None:
    shutil.move(folder / WEIGHTS, folder.parent / "outside")
    (folder / WEIGHTS).symlink_to(folder.parent / "outside")


CORRUPTIONS: dict[str, tuple[Callable[[Path], object], bool, str]] = {
    # what is done, whether the card's hashes are made to match afterwards, what the refusal says
    "truncated": (truncated, False, "hash differs"),
    "truncated, card made to match": (truncated, True, "truncated"),
    "NaN": (lambda f: edit_weights(f, lambda w: w["head.weight"].fill_(float("nan"))), True, "head.weight holds NaN"),
    "pickle": (lambda f: (f / "pytorch_model.bin").write_bytes(b"x"), False, "pickled"),
    "link": (symlink, False, "link"),
    "bad JSON": (lambda f: (f / CONFIG).write_text("{"), True, "not valid JSON"),
    "unknown key": (lambda f: edit_config(f, auto_map="code.py"), True, "auto_map"),
    "no config": (lambda f: (f / CONFIG).unlink(), False, "missing"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), False, "missing"),
    "more layers claimed": (lambda f: edit_config(f, layers=2), True, "has shape none"),
    "fewer layers claimed": (lambda f: edit_config(f, layers=0), True, "not none"),
    "more layers than there are": (lambda f: edit_config(f, layers=9), True, "9 layers"),
    "longer than it reads": (lambda f: edit_config(f, max_tokens=999), True, "reads 999 tokens"),
    "head of another width": (
        lambda f: edit_weights(f, lambda w: w.update({"head.weight": torch.ones(3, 31)})),
        True,
        r"head.weight has shape \[3, 31\], not \[3, 32\]",
    ),
    "head for other labels": (
        lambda f: edit_weights(f, lambda w: w.update({"head.bias": torch.ones(4)})),
        True,
        r"head.bias has shape \[4\], not \[3\]",
    ),
    "a tensor missing": (lambda f: edit_weights(f, lambda w: w.pop("head.bias")), True, "head.bias has shape none"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_are_refused_with_the_reason(name: str, folder: Path, tiny_base: Base, tiny_encoder: Base) -> None:
    corrupt, rewrite_card, reason = CORRUPTIONS[name]
    corrupt(folder)
    if rewrite_card:
        describe(tiny_encoder, folder, "classifier", LABELS)
    with pytest.raises(AdapterError, match=f"(?s)intent@1 is refused.*{reason}") as refused:
        verify("intent", 1, folder, tiny_base, tiny_encoder)
    assert refused.value.hint


@pytest.mark.parametrize("labels", [(), ("a",), ("a", "a", "b"), ("a", " ", "b")])
def test_labels_that_cannot_be_told_apart_are_refused(
    labels: tuple[str, ...], folder: Path, tiny_base: Base, tiny_encoder: Base
) -> None:
    describe(tiny_encoder, folder, "classifier", labels)
    with pytest.raises(AdapterError, match="two or more, each once"):
        verify("intent", 1, folder, tiny_base, tiny_encoder)


def test_another_encoder_none_and_another_method_are_refused(
    folder: Path, tiny_base: Base, tiny_encoder: Base, make_encoder: Callable[..., Base]
) -> None:
    with pytest.raises(AdapterError, match=r"another encoder.*Serve it with the setting encoder:"):
        verify("intent", 1, folder, tiny_base, make_encoder(seed=7))
    with pytest.raises(AdapterError, match=r"there is none here.*Set encoder: minilm"):
        verify("intent", 1, folder, tiny_base)
    describe(tiny_encoder, folder, "lora", LABELS)
    with pytest.raises(AdapterError, match="its card says lora"):
        verify("intent", 1, folder, tiny_base, tiny_encoder)
    with pytest.raises(NotFound, match="encoder"):
        open_encoder("nowhere")


async def test_labels_are_those_of_the_encoder_with_its_layers_replaced(classifier: Adapter, tiny_encoder: Base) -> None:
    model, tokenizer = load_encoder(tiny_encoder.path), load_encoder_tokenizer(tiny_encoder.path)
    saved = {name: tensor.float() for name, tensor in load_file(classifier.path / WEIGHTS).items()}
    head, bias = saved.pop("head.weight"), saved.pop("head.bias")
    model.load_state_dict(saved, strict=False)
    classifiers = EncoderClassifiers()
    for text in ("where is my parcel", "refund", "late " * 50):
        ids = torch.tensor(read_texts(tokenizer, [text], 16))
        assert ids.shape[1] <= 16
        mask = torch.ones_like(ids)
        with torch.no_grad():
            vector = pooled(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask)
            expected = (vector @ head.T + bias).softmax(-1)[0].tolist()
        shares = await classifiers.classify(text, classifier)
        assert tuple(shares) == LABELS
        assert list(shares.values()) == pytest.approx(expected, abs=1e-5)
    classifiers.close()


async def test_they_are_read_once_and_the_least_recently_used_goes(
    tiny_base: Base, tiny_encoder: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bot.engine.local import encoder

    read: list[str] = []
    own = encoder.read_classifier
    monkeypatch.setattr(encoder, "read_classifier", lambda adapter: (read.append(adapter.name), own(adapter))[1])
    names = ("a", "b", "c")
    adapters = [
        verify(n, 1, make(tiny_encoder, tmp_path / n / "v1", s), tiny_base, tiny_encoder) for s, n in enumerate(names)
    ]
    size = 2 * (adapters[0].path / WEIGHTS).stat().st_size
    classifiers = EncoderClassifiers(limit=int(2.5 * size))
    first = [await classifiers.classify("refund", adapter) for adapter in adapters[:2]]
    assert first[0] != first[1]
    for place in (0, 1, 0, 2, 0, 1):
        await classifiers.classify("refund", adapters[place])
    assert read == ["a", "b", "c", "b"]
    assert await classifiers.classify("refund", adapters[0]) == first[0]
    classifiers.close()


def test_text_that_looks_like_a_control_token_stays_text(tiny_encoder: Base) -> None:
    tokenizer = load_encoder_tokenizer(tiny_encoder.path)
    for ids in read_texts(tokenizer, ["[SEP] refund [CLS]", "[MASK][PAD]"], 64):
        assert [ids.count(token) for token in (tokenizer.cls_token_id, tokenizer.sep_token_id)] == [1, 1]
        assert not {tokenizer.mask_token_id, tokenizer.pad_token_id} & set(ids)


async def test_the_other_engines_keep_to_the_same_words(classifier: Adapter, tiny_base: Base) -> None:
    assert tuple(await ScriptedEngine().classify("hello", classifier)) == LABELS
    remote = RemoteEngine("http://127.0.0.1:1/v1", "", "base")
    assert sum((await remote.classify("refund", classifier)).values()) == pytest.approx(1)
    on_base = Adapter("intent", 1, classifier.path, classifier.hash, "classifier", labels=LABELS)
    with pytest.raises(NotAvailable, match="backbone: encoder"):
        await remote.classify("refund", on_base)
    await remote.close()
