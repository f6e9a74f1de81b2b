"""One process or several: `accelerate launch -m bot train …` starts the same command many times. Each trains; the first one
alone speaks and saves.
"""

from __future__ import annotations

import os
from typing import TypeVar

Value = TypeVar("Value")


def process_count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def shared(value: Value) -> Value:
    """The first process's `value`, in every process. All must ask."""
    if process_count() == 1:
        return value
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=_on_cpu())
    found: Value = broadcast_object_list([value])[0]
    return found


def _on_cpu() -> bool:
    import torch

    return not torch.cuda.is_available()
