"""Thirteen kinds of corrupt adapter are refused in under two seconds, each with one line that says why and what to do.

Where a hash alone would tell, the attacker has also rewritten the card's hashes: structure must hold by itself. A flipped
bit or another base's weights in the right shape are then an adapter that somebody made: hashes are all that can tell them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.card import CARD
from bot.adapters.verify import CONFIG, WEIGHTS, verify
from bot.base import Base, open_base
from bot.bench.shape import describe
from bot.cli import main
from bot.errors import AdapterError
from tests.adapters.test_verify import bit_flip, edit_config, edit_weights, missing_layer, not_a_number, symlink, truncated


def more_layers(folder: Path) -> None:
    edit_weights(
        folder,
        lambda w: w.update({k.replace("layers.1.", "layers.2."): v.clone() for k, v in list(w.items()) if "layers.1." in k}),  # type: ignore[attr-defined]
    )


def says(**values: str) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        card = yaml.safe_load((folder / CARD).read_text())
        (folder / CARD).write_text(yaml.safe_dump({**card, **values}))

    return edit


def wider(folder: Path) -> None:
    edit_weights(folder, lambda w: w.update({k: torch.ones(v.shape[0] + 1, v.shape[1]) for k, v in w.items()}))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Kind:
    """What is done, whether the card's hashes are then rewritten to match, and what is said."""

    corrupt: Callable[[Path], object]
    rewritten: bool
    reason: str
    remedy: str


KINDS = {
    "truncated": Kind(truncated, False, "its hash differs", "Restore it from its source"),
    "truncated, rewritten": Kind(truncated, True, "is truncated or damaged", "Restore it from its source"),
    "bit flip": Kind(bit_flip, False, "its hash differs", "Restore it from its source"),
    "NaN": Kind(not_a_number, False, "its hash differs", "Restore it from its source"),
    "NaN, rewritten": Kind(not_a_number, True, "holds NaN or infinite numbers", "lower learning rate"),
    "other base of the same shape": Kind(says(base_hash="0" * 64), False, "another base", "Serve it with --base"),
    "another width, rewritten": Kind(wider, True, "has shapes", "Train it on this base"),
    "fewer layers": Kind(missing_layer, False, "its hash differs", "Restore it from its source"),
    "fewer layers, rewritten": Kind(missing_layer, True, "has no weights for", "made for fewer layers"),
    "more layers": Kind(more_layers, False, "its hash differs", "Restore it from its source"),
    "more layers, rewritten": Kind(more_layers, True, "the base has no model.layers.2", "train it again"),
    "rank edited": Kind(lambda f: edit_config(f, r=64), False, "its hash differs", "Restore it from its source"),
    "rank edited, rewritten": Kind(lambda f: edit_config(f, r=64), True, "not rank 64", "Train it on this base"),
    "pickle": Kind(lambda f: (f / WEIGHTS).rename(f / "adapter_model.bin"), False, "is pickled", f"Save the weights as {WEIGHTS}"),
    "bad JSON": Kind(lambda f: (f / CONFIG).write_text("{"), False, "its hash differs", "Restore it from its source"),
    "bad JSON, rewritten": Kind(lambda f: (f / CONFIG).write_text("{"), True, "is not valid JSON", "Restore the file"),
    "deep JSON, rewritten": Kind(lambda f: (f / CONFIG).write_text("[" * 10**5), True, "is not valid JSON", "Restore the file"),
    "no config": Kind(lambda f: (f / CONFIG).unlink(), False, f"{CONFIG} is missing", "Restore the folder"),
    "symlink out of the folder": Kind(symlink, False, "is a link", "copy them in"),
    "symlink, rewritten": Kind(symlink, True, "is a link", "copy them in"),
    "foreign chat template": Kind(says(template_hash="0" * 64), False, "another chat template", "Serve it with --base"),
    "wrong method": Kind(lambda f: edit_config(f, peft_type="IA3"), False, "its hash differs", "Restore it from its source"),
    "wrong method, rewritten": Kind(lambda f: edit_config(f, peft_type="IA3"), True, "its method 'IA3' cannot", "Train a LoRA"),
    "method of another card, rewritten": Kind(
        lambda f: edit_config(f, peft_type="PROMPT_TUNING"), True, "its card says lora", "Train it again"
    ),
    "layers by a pattern, rewritten": Kind(
        lambda f: edit_config(f, target_modules=r".*layers\.0\..*"), True, "is the pattern", "as a list"
    ),
}  # fmt: skip


@pytest.fixture
def folder(good: Path, workspace: Path) -> Path:
    return Path(shutil.copytree(good, workspace / "adapters" / "returns" / "v1"))


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_refused_with_reason_and_remedy(
    name: str,
    folder: Path,
    workspace: Path,
    tiny_base: Base,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kind = KINDS[name]
    kind.corrupt(folder)
    if kind.rewritten:
        describe(tiny_base, folder)
    start = time.perf_counter()
    with pytest.raises(AdapterError) as refused:
        verify("returns", 1, folder, open_base(str(tiny_base.path)))
    assert time.perf_counter() - start < 2
    assert refused.value.what.startswith("Adapter returns@1 is refused: ")
    assert kind.reason in refused.value.what
    assert kind.remedy in refused.value.hint

    words = ["bot", "adapters", "verify", "returns@1", "--workspace", str(workspace), "--base", str(tiny_base.path)]
    monkeypatch.setattr("sys.argv", words)
    start = time.perf_counter()
    with pytest.raises(SystemExit) as ended:
        main()
    assert time.perf_counter() - start < 2
    out = capsys.readouterr()
    assert (ended.value.code, out.out) == (1, "")
    assert out.err.count("\n") == 1
    assert out.err == f"bot: {refused.value}\n"


def test_another_bases_adapter_and_template_are_told_by_hash(
    folder: Path, make_base: Callable[..., Base], tiny_base: Base, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(tiny_base.path, tmp_path / "base"))
    (other / "chat_template.jinja").write_text((other / "chat_template.jinja").read_text() + " ")
    for base, reason in ((make_base(seed=7), "another base"), (open_base(str(other)), "another chat template")):
        start = time.perf_counter()
        with pytest.raises(AdapterError, match=reason) as refused:
            verify("returns", 1, folder, base)
        assert time.perf_counter() - start < 2
        assert "train it again" in refused.value.hint


@given(data=st.data())
def test_whatever_stands_in_a_file_the_refusal_is_told(
    data: st.DataObject, good: Path, tiny_base: Base, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Headers and configurations with any JSON value in any place, under a card that matches."""
    folder = Path(shutil.copytree(good, tmp_path_factory.mktemp("fuzz") / "returns" / "v1"))
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda x: st.lists(x, max_size=3), max_leaves=3
    )
    if data.draw(st.booleans()):
        config = json.loads((folder / CONFIG).read_text())
        key = data.draw(
            st.sampled_from(
                [
                    "r",
                    "target_modules",
                    "rank_pattern",
                    "peft_type",
                    "task_type",
                    "bias",
                    "init_lora_weights",
                    "modules_to_save",
                ]
            )
        )
        (folder / CONFIG).write_text(json.dumps({**config, key: data.draw(anything)}))
    else:
        content = (folder / WEIGHTS).read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        tensor = data.draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))
        header[tensor][data.draw(st.sampled_from(["dtype", "shape", "data_offsets"]))] = data.draw(anything)
        written = json.dumps(header).encode()
        (folder / WEIGHTS).write_bytes(len(written).to_bytes(8, "little") + written + content[8 + length :])
    describe(tiny_base, folder)
    # Any other error than this one, which is a line for people, fails the test.
    with contextlib.suppress(AdapterError):
        assert verify("returns", 1, folder, tiny_base).ref == "returns@1"
