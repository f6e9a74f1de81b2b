"""What every test may use: a temporary workspace, a two-layer model built from a config, an embedder of word counts.

Nothing is downloaded: sockets reach loopback only (pytest-socket, see pyproject.toml).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest

from bot.base import STARTER, Base, open_base, open_encoder
from bot.bench.shape import describe
from bot.desk import Desk
from bot.engine.scripted import ScriptedEngine
from bot.knowledge.store import MemoryStore
from bot.runs.progress import Step
from bot.settings import Settings, load
from bot.skeleton import SOURCE
from bot.types import content_hash
from bot.web.auth import Person, new_token

ROOT = Path(__file__).parents[1]
os.environ["HF_HUB_OFFLINE"] = "1"
# How long an example takes says more about the machine's load than about the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


class Ear:
    """Remembers what a run said."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.notes: list[str] = []

    def step(self, step: Step) -> None:
        self.steps.append(step)

    def note(self, text: str) -> None:
        self.notes.append(text)


class WordEmbedder:
    """A text as counts of its hashed words: similar texts are near, and no model is needed."""

    id = "words"
    dimensions = 256

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().replace(".", " ").replace("?", " ").split():
                row[int(hashlib.md5(word.encode()).hexdigest(), 16) % self.dimensions] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def close(self) -> None:
        pass


def asked_by(role: Any = "engineer", id: str = "") -> Any:
    """What a page's handler is handed as its request: of a person with that role, a new one where no id is given."""
    person = Person(id or content_hash(new_token())[:32], role)
    return SimpleNamespace(state=SimpleNamespace(person=person))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace as `bot init` makes it."""
    folder = tmp_path / "workspace"
    shutil.copytree(SOURCE, folder)
    return folder


@pytest.fixture
def steps(workspace: Path) -> str:
    """A prompt of that workspace that asks for hidden reasoning."""
    support = (workspace / "prompts" / "support" / "v1.yaml").read_text()
    (workspace / "prompts" / "steps").mkdir()
    (workspace / "prompts" / "steps" / "v1.yaml").write_text(support.replace("zero-shot", "chain-of-thought"))
    return "steps@1"


@pytest.fixture
def settings(workspace: Path) -> Settings:
    return load(workspace=workspace, engine="scripted", threshold=0.2)


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """A desk on the scripted engine, an index in memory and the word embedder."""
    made = Desk(settings)
    made.embedder = WordEmbedder()
    made.store = MemoryStore()
    made.engine = ScriptedEngine()
    yield made
    await made.close()


@pytest.fixture(scope="session")
def make_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Base]:
    """A two-layer model with the starter's tokenizer and template; keywords change its config."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    def make(seed: int = 0, kind: str = "llama", **changes: Any) -> Base:
        folder = tmp_path_factory.mktemp("base")
        torch.manual_seed(seed)
        config = AutoConfig.for_model(
            kind,
            **{
                "vocab_size": 8192,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "max_position_embeddings": 512,
                "bos_token_id": 1,
                "eos_token_id": 2,
                "pad_token_id": 0,
                **changes,
            },
        )
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(STARTER / file, folder / file)
        return open_base(str(folder))

    return make


@pytest.fixture(scope="session")
def tiny_base(make_base: Callable[..., Base]) -> Base:
    return make_base()


def make_adapter(base: Base, folder: Path, seed: int, rank: int = 4, **config: Any) -> Path:
    """A random but effective LoRA version with its card, as training would leave it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = AutoModelForCausalLM.from_pretrained(base.path)
    lora = get_peft_model(model, LoraConfig(**{"r": rank, "lora_alpha": 2 * rank, "target_modules": targets, **config}))
    for name, parameter in lora.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    lora.save_pretrained(folder)
    (folder / "README.md").unlink()
    describe(base, folder)
    return folder


def make_classifier(base: Base, folder: Path, seed: int, labels: tuple[str, ...] = ("refund", "delivery", "other")) -> Path:
    """A random but effective classifier with its card, as training would leave it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base.path, num_labels=len(labels))
    wrapped = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj", "v_proj"]))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name or "score.modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    wrapped.save_pretrained(folder)
    (folder / "README.md").unlink()
    describe(base, folder, "classifier", labels)
    return folder


def make_soft_prompt(base: Base, folder: Path, seed: int, tokens: int = 5) -> Path:
    """A random but effective soft prompt with its card, as training would leave it."""
    import torch
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base.path)
    soft = get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=tokens))
    soft.save_pretrained(folder)
    (folder / "README.md").unlink()
    describe(base, folder, "soft-prompt")
    return folder


@pytest.fixture(scope="session")
def make_encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Base]:
    """A two-layer encoder with random weights and a tokenizer of letters and a few words; keywords change its config."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["refund", "money", "parcel", "late", "where", "thanks", "person", "broken", "lamp", "my", "is", "the"]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[",
        "]",
        *letters,
        *(f"##{letter}" for letter in letters),
        *words,
    ]

    def make(seed: int = 0, **changes: Any) -> Base:
        folder = tmp_path_factory.mktemp("encoder")
        torch.manual_seed(seed)
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = BertConfig(**{"vocab_size": len(pieces), "max_position_embeddings": 64, **shape, **changes})
        BertModel(config).save_pretrained(folder)
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        BertTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
        return open_encoder(str(folder))

    return make


@pytest.fixture(scope="session")
def tiny_encoder(make_encoder: Callable[..., Base]) -> Base:
    return make_encoder()
