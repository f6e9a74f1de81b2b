"""What the model does beside the base's products: on a CPU the many small operations, and a step's low-rank products above
all, take longer in torch than their bytes take from memory, and every operation has to be begun.

Contract: to be imported where `bot.cores.openmp` finds one. A `Kernels` is for the model's thread alone; its functions run
on the threads that torch computes on there, since a pool of their own would fight with those. Those that take `lines` first
add to y what each row's mix makes of x (see InPlace), for one token a row; None adds nothing.
"""

from __future__ import annotations

import ctypes
import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from bot.cores import openmp
from bot.engine.local.compiled import KERNELS, compiled
from bot.engine.local.in_place import Lines


class Kernels:
    """The kernels for one precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype, self._parallel, self._threads = dtype, openmp().GOMP_parallel, torch.get_num_threads()
        self._code = {name: compiled(name, dtype).address for name in KERNELS}
        self._inner = torch.empty(0, dtype=torch.promote_types(dtype, torch.float32))

    def _run(self, name: str, work: int, *numbers: int) -> None:
        given = (ctypes.c_int64 * len(numbers))(*numbers)
        # All or one: OpenMP ends the threads that a smaller team leaves over, and the next product would begin them anew.
        self._parallel(self._code[name], ctypes.addressof(given), self._threads if work > 1 else 1, 0)

    def _check(self, tensor: Tensor, *shape: int) -> int:
        """A tensor's address. Raises ValueError where a kernel would read or write beside it."""
        if tensor.dtype != self._dtype or tensor.numel() != math.prod(shape) or not tensor.is_contiguous():
            raise ValueError(
                f"a kernel takes {shape} of {self._dtype} in a row, not {tuple(tensor.shape)} of {tensor.dtype}"
            )
        return tensor.data_ptr()

    def _header(self, x: Tensor, y: Tensor, lines: Lines | None) -> tuple[int, ...]:
        """For y (rows, tokens, outs), the product of x (rows, tokens, ins)."""
        rows, ins, outs = y.numel() // y.shape[-1], x.shape[-1], y.shape[-1]
        addresses = self._check(x, rows, ins), self._check(y, rows, outs)
        if lines is None:
            return (*addresses, 0, 0, rows, ins, outs, 0, 0)
        if len(lines.numbers) != rows:
            raise ValueError(f"a kernel takes {rows} rows' lines, not {len(lines.numbers)}")
        needed = rows * lines.inner
        if needed > len(self._inner):
            self._inner = self._inner.new_empty(needed)
        return (*addresses, lines.address, self._inner.data_ptr(), rows, ins, outs, lines.places, lines.inner)

    def add_low_rank(self, x: Tensor, y: Tensor, lines: Lines) -> None:
        """y (rows, 1, outs) += what each row's mix makes of x (rows, 1, ins)."""
        self._run("add_low_rank", 2, *self._header(x, y, lines))

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """Root mean square norm of x (rows, tokens, width)."""
        out, rows, width = torch.empty_like(x), x.numel() // x.shape[-1], x.shape[-1]
        addresses = self._check(x, rows, width), self._check(weight, width), out.data_ptr()
        self._run("norm", rows, *addresses, _bits(epsilon), rows, width)
        return out

    def join(
        self, x: Tensor, y: Tensor, lines: Lines | None, before: Tensor, norm: tuple[Tensor, float] | None = None
    ) -> Tensor:
        """y, a product of x, becomes what it is added to, `before`, and itself; gives its norm by a weight and ε, or y
        where none is asked for."""
        header, rows, width = self._header(x, y, lines), y.numel() // y.shape[-1], y.shape[-1]
        added = self._check(before, rows, width)
        if norm is None:
            self._run("join", 2, *header, added, 0, 0, 0)
            return y
        weight, epsilon = norm
        out = torch.empty_like(y)
        self._run("join", 2, *header, added, self._check(weight, width), out.data_ptr(), _bits(epsilon))
        return out

    def gate(self, x: Tensor, y: Tensor, lines: Lines | None) -> Tensor:
        """silu of the first half of y, a product of x, times the second: (rows, tokens, half of y's width)."""
        header = self._header(x, y, lines)
        if y.shape[-1] % 2:
            raise ValueError(f"a kernel takes halves, not {y.shape[-1]} in a row")
        out = y.new_empty(*y.shape[:-1], y.shape[-1] // 2)
        self._run("gate", 2, *header, out.data_ptr())
        return out

    def attend(
        self,
        x: Tensor,
        heads: Tensor,
        lines: Lines | None,
        turns: tuple[Tensor, Tensor],
        held: tuple[Tensor, Tensor],
        starts: np.ndarray,
        scale: float,
    ) -> Tensor:
        """What each row's heads see, (rows, 1, those that ask × width), of all up to and with the token at its start, which
        is written there. `heads` (rows, 1, all × width) are a product of x, `turns` cosines and sines (rows, 1, 1, width),
        `held` keys and values (rows or more, heads, positions, width)."""
        header, rows, width = self._header(x, heads, lines), len(heads), turns[0].shape[-1]
        holding, positions = held[0].shape[1:3]
        asking = heads.shape[-1] // width - 2 * holding
        out = heads.new_empty(rows, 1, asking * width)
        self._check(heads, rows, asking + 2 * holding, width)
        addresses = [self._check(turn, rows, width) for turn in turns]
        addresses += [self._check(kept, len(kept), holding, positions, width) for kept in held]
        if min(map(len, held)) < rows or starts.dtype != np.int64 or len(starts) != rows:
            raise ValueError(f"a kernel takes keys, values and int64 starts of {rows} rows, not {held[0].shape}, {starts!r}")
        self._run("attend", 2, *header, *addresses, starts.ctypes.data, out.data_ptr(), _bits(scale), asking, holding,
                  width, positions)  # fmt: skip
        return out


@cache
def _bits(number: float) -> int:
    return int(np.float64(number).view(np.int64))
