"""Weights read as bytes: names, types and shapes from a safetensors header, and whether every number is finite.

No torch, no pickle. A file that is cut off or does not fit its own header is refused with the reason.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from bot.errors import AdapterError

_NON_FINITE_BF16 = 0x7F80
_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def finite_weights(path: Path) -> dict[str, list[int]]:
    """Tensor name → shape."""
    weights = {}
    for key, dtype, shape, data in _tensors(path):
        if not _is_finite(dtype, data):
            raise AdapterError(f"{key} holds NaN or infinite numbers.", "Train it again with a lower learning rate.")
        weights[key] = shape
    return weights


def header(path: Path) -> dict[str, tuple[str, list[int], int, int]]:
    """Tensor name → (dtype, shape, first byte, last byte) of a safetensors file; its lengths are checked."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, 100_000_000):
                raise ValueError("its header is cut off")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        start = 8 + length
        tensors = {
            k: (str(v["dtype"]), v["shape"], start + v["data_offsets"][0], start + v["data_offsets"][1])
            for k, v in header.items()
        }
        if max((end for *_, end in tensors.values()), default=start) != size:
            raise ValueError("its length does not match its header")
        for key, (_, shape, first, last) in tensors.items():
            if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in (*shape, first - start, last)):
                raise ValueError(f"the shape or place of {key} is no list of numbers")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise AdapterError(f"{path.name} is truncated or damaged ({error}).", "Restore it from its source.") from None
    return tensors


def _tensors(path: Path) -> list[tuple[str, str, list[int], bytes]]:
    data = path.read_bytes()
    found = []
    for key, (dtype, shape, first, last) in header(path).items():
        if dtype not in _DTYPES or math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize != last - first:
            raise AdapterError(f"{key} in {path.name} has dtype {dtype} or a length that does not fit.", "Save it again.")
        found.append((key, dtype, shape, data[first:last]))
    return found


def _is_finite(dtype: str, data: bytes) -> bool:
    values = np.frombuffer(data, dtype=_DTYPES[dtype])
    if dtype == "BF16":
        return bool(((values & _NON_FINITE_BF16) != _NON_FINITE_BF16).all())
    return bool(np.isfinite(values).all())
