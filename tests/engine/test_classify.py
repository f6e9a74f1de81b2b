"""Labels by a classifier's head, as plain PEFT gives them; and what is no classifier."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bot.adapters.verify import verify
from bot.base import Base
from bot.bench.shape import describe
from bot.engine.local.encode import encode
from bot.engine.local.engine import LocalEngine
from bot.errors import AdapterError
from bot.types import Adapter, Message, Mix, Sampling
from tests.conftest import make_adapter, make_classifier

TEXTS = ["where is my parcel", "I want my money back. " * 80]


@pytest.fixture(scope="module")
def classifier(tiny_base: Base, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    folder = make_classifier(tiny_base, tmp_path_factory.mktemp("made") / "intent" / "v1", 3)
    return verify("intent", 1, folder, tiny_base)


def expected(base: Base, adapter: Adapter, text: str) -> list[float]:
    """Plain PEFT's probabilities."""
    plain = AutoModelForSequenceClassification.from_pretrained(base.path, num_labels=len(adapter.labels))
    plain.config.pad_token_id = 0
    ids = encode(AutoTokenizer.from_pretrained(base.path), [Message("user", text)])
    with torch.no_grad():
        logits = PeftModel.from_pretrained(plain, str(adapter.path)).eval()(input_ids=torch.tensor([ids])).logits
    return [float(share) for share in logits[0].softmax(-1)]


async def test_labels_are_those_of_plain_peft_while_others_chat(tiny_base: Base, classifier: Adapter) -> None:
    engine = LocalEngine(tiny_base, "float32")

    async def chat() -> str:
        how = Sampling(max_tokens=40, ignore_eos=True)
        return "".join([piece.text async for piece in engine.stream([Message("user", "hello")], Mix(), how, 0)])

    alone = await chat()
    chats = [asyncio.create_task(chat()) for _ in range(3)]
    for text in TEXTS:
        labels = await engine.classify(text, classifier)
        assert tuple(labels) == classifier.labels
        assert list(labels.values()) == pytest.approx(expected(tiny_base, classifier, text), abs=1e-5)
    assert expected(tiny_base, classifier, TEXTS[0]) != pytest.approx(expected(tiny_base, classifier, TEXTS[1]), abs=1e-3)
    assert await asyncio.gather(*chats) == [alone] * 3
    await engine.close()


async def test_a_lora_gives_no_labels_and_a_classifier_no_reply(
    tiny_base: Base, classifier: Adapter, tmp_path: Path
) -> None:
    engine = LocalEngine(tiny_base, "float32")
    lora = verify("plain", 1, make_adapter(tiny_base, tmp_path / "plain" / "v1", 1), tiny_base)
    with pytest.raises(AdapterError, match=r"plain@1 is a lora.*Name a classifier"):
        await engine.classify("hello", lora)
    with pytest.raises(AdapterError, match="writes no replies"):
        async for _ in engine.stream([Message("user", "hello")], Mix(((classifier, 1.0),)), Sampling(), 0):
            pass
    await engine.close()


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["refund", "other"], "not 2 labels"),
        (["refund", "refund", "other"], "two or more, each once"),
        (["refund", " ", "other"], "two or more, each once"),
        ([], "two or more, each once"),
    ],
)
def test_a_head_that_does_not_fit_its_labels_is_refused(
    tiny_base: Base, classifier: Adapter, tmp_path: Path, labels: list[str], reason: str
) -> None:
    folder = tmp_path / "intent" / "v1"
    shutil.copytree(classifier.path, folder)
    card = yaml.safe_load((folder / "card.yaml").read_text()) | {"labels": labels}
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(AdapterError, match=reason):
        verify("intent", 1, folder, tiny_base)


def test_a_classifier_that_calls_itself_a_lora_is_refused(tiny_base: Base, classifier: Adapter, tmp_path: Path) -> None:
    folder = tmp_path / "intent" / "v1"
    shutil.copytree(classifier.path, folder)
    card = yaml.safe_load((folder / "card.yaml").read_text()) | {"method": "lora"}
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(AdapterError, match=r"its card says lora, but adapter_config\.json says classifier"):
        verify("intent", 1, folder, tiny_base)


@pytest.mark.parametrize("saved", [["score", "lm_head"], ["lm_head"], [["score"]], 5, "score"])
def test_a_classifier_that_saves_more_than_its_head_is_refused(
    tiny_base: Base, classifier: Adapter, tmp_path: Path, saved: object
) -> None:
    folder = tmp_path / "intent" / "v1"
    shutil.copytree(classifier.path, folder)
    config = json.loads((folder / "adapter_config.json").read_text()) | {"modules_to_save": saved}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    describe(tiny_base, folder, "classifier", classifier.labels)
    with pytest.raises(AdapterError, match="modules to save"):
        verify("intent", 1, folder, tiny_base)


def test_a_classifier_without_a_head_and_a_lora_with_labels_are_refused(
    tiny_base: Base, classifier: Adapter, tmp_path: Path
) -> None:
    folder = tmp_path / "intent" / "v1"
    shutil.copytree(classifier.path, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    del weights["base_model.model.score.weight"]
    save_file(weights, folder / "adapter_model.safetensors")
    describe(tiny_base, folder, "classifier", classifier.labels)
    with pytest.raises(AdapterError, match=r"its head has shape \[\]"):
        verify("intent", 1, folder, tiny_base)
    lora = make_adapter(tiny_base, tmp_path / "plain" / "v1", 1)
    describe(tiny_base, lora, "lora", ("refund", "other"))
    with pytest.raises(AdapterError, match="names labels, which a lora does not tell apart"):
        verify("plain", 1, lora, tiny_base)
