"""What a step does beside the base's products, compiled for one token a row: on a CPU the many small operations, and the
low-rank products above all, take longer in torch than their bytes take from memory.

Contract: to be imported where `bot.cores.openmp` finds one. A `Kernels` is for the model's thread alone; its functions run
on the threads that torch computes on there, since a pool of their own would fight with those. Numbers are widened as they
are read, added up in float32 (in float64 where the model is in that), and rounded once. Who else is in the batch changes
nothing of a row. numba keeps what it compiled on disk.
"""

from __future__ import annotations

import ctypes
import math
from functools import cache, partial
from types import FunctionType
from typing import Any

import numpy as np
import torch
from llvmlite import binding, ir
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic
from torch import Tensor

from bot.cores import openmp

_MATH = {"reassoc", "contract", "arcp", "nsz"}
"""What the compiler may assume. Not that all numbers are finite: a row that has others must be told from the rest."""
_STORED = {torch.bfloat16: types.uint16, torch.float32: types.float32, torch.float64: types.float64}
_thread = types.ExternalFunction("omp_get_thread_num", types.int32())
_threads = types.ExternalFunction("omp_get_num_threads", types.int32())

# A kernel is handed one address: that of its numbers, which are int64, addresses of tensors among them. The pointer's type
# says how the tensors are stored.


@intrinsic
def _numbers(_: Any, given: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int64)(given), generate


@intrinsic
def _at(_: Any, like: Any, address: Any) -> Any:
    """A pointer of the type of `like`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[1], context.get_value_type(signature.return_type))

    return like(like, address), generate


@intrinsic
def _integers(_: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.int64)(address), generate


@intrinsic
def _float(_: Any, bits: Any) -> Any:
    """The float64 of these bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(bits), generate


@intrinsic
def _wide(_: Any, stored: Any) -> Any:
    """What is computed with; bfloat16 is the upper half of float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if stored != types.uint16:
            return args[0]
        whole = ir.IntType(32)
        return builder.bitcast(builder.shl(builder.zext(args[0], whole), ir.Constant(whole, 16)), ir.FloatType())

    return (types.float32 if stored == types.uint16 else stored)(stored), generate


@intrinsic
def _narrow(_: Any, like: Any, number: Any) -> Any:
    """`number` as `like` is stored, rounded to the nearest, of two to the even one; NaN stays NaN."""
    stored = like.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if stored != types.uint16:
            return args[1]
        whole, half = ir.IntType(32), ir.IntType(16)
        bits = builder.bitcast(args[1], whole)
        odd = builder.and_(builder.lshr(bits, ir.Constant(whole, 16)), ir.Constant(whole, 1))
        rounded = builder.add(builder.add(bits, ir.Constant(whole, 0x7FFF)), odd)
        upper = builder.trunc(builder.lshr(rounded, ir.Constant(whole, 16)), half)
        return builder.select(builder.fcmp_unordered("uno", args[1], args[1]), ir.Constant(half, 0x7FC0), upper)

    return stored(like, number), generate


@intrinsic
def _as(_: Any, like: Any, number: Any) -> Any:
    """`number` in the precision of `like`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[1], number, like)

    return like(like, number), generate


@njit(fastmath=_MATH)
def _times(x: Any, a: Any) -> Any:
    """x·A for x (n) and A (n, m), wide."""
    out = np.full(a.shape[1], _as(_wide(x[0]), 0))
    whole = len(x) // 4 * 4
    for i in range(0, whole, 4):
        x0, x1, x2, x3 = _wide(x[i]), _wide(x[i + 1]), _wide(x[i + 2]), _wide(x[i + 3])
        for j in range(len(out)):
            out[j] += x0 * _wide(a[i, j]) + x1 * _wide(a[i + 1, j]) + x2 * _wide(a[i + 2, j]) + x3 * _wide(a[i + 3, j])
    for i in range(whole, len(x)):
        x0 = _wide(x[i])
        for j in range(len(out)):
            out[j] += x0 * _wide(a[i, j])
    return out


@njit(fastmath=_MATH)
def _add_times(c: Any, b: Any, y: Any) -> None:
    """y += c·B for wide c (n), B (n, m) and y (m)."""
    out = np.empty(len(y), c.dtype)
    for j in range(len(y)):
        out[j] = _wide(y[j])
    whole = len(c) // 4 * 4
    for i in range(0, whole, 4):
        c0, c1, c2, c3 = c[i], c[i + 1], c[i + 2], c[i + 3]
        for j in range(len(y)):
            out[j] += c0 * _wide(b[i, j]) + c1 * _wide(b[i + 1, j]) + c2 * _wide(b[i + 2, j]) + c3 * _wide(b[i + 3, j])
    for i in range(whole, len(c)):
        for j in range(len(y)):
            out[j] += c[i] * _wide(b[i, j])
    for j in range(len(y)):
        y[j] = _narrow(y, out[j])


def _add_low_rank(given: Any) -> None:
    """x, y, lines, rows, ins, outs, places. A line is a row's: A and its columns, and for every place rank, first column,
    first output, outputs and B; an A of 0 adds nothing."""
    n = carray(_numbers(given), (7,))
    rows, ins, outs, places = n[3], n[4], n[5], n[6]
    x, y = carray(_at(given, n[0]), (rows, ins)), carray(_at(given, n[1]), (rows, outs))
    lines = carray(_integers(n[2]), (rows, 2 + 5 * places))
    for row in range(_thread(), rows, _threads()):
        line = lines[row]
        if line[0]:
            c = _times(x[row], carray(_at(given, line[0]), (ins, line[1])))
            for first in range(2, 2 + 5 * places, 5):
                rank, column, start, width = line[first], line[first + 1], line[first + 2], line[first + 3]
                if rank:
                    b = carray(_at(given, line[first + 4]), (rank, width))
                    _add_times(c[column : column + rank], b, y[row, start : start + width])


def _norm(given: Any) -> None:
    """x, weight, out, ε in a float64, rows, width. Rounded before the weight, as transformers does it."""
    n = carray(_numbers(given), (6,))
    rows, width = n[4], n[5]
    x, weight = carray(_at(given, n[0]), (rows, width)), carray(_at(given, n[1]), (width,))
    out, epsilon = carray(_at(given, n[2]), (rows, width)), _float(n[3])
    for row in range(_thread(), rows, _threads()):
        total = _as(_wide(weight[0]), 0)
        for i in range(width):
            total += _wide(x[row, i]) * _wide(x[row, i])
        scale = _as(total, 1 / math.sqrt(total / width + epsilon))
        for i in range(width):
            out[row, i] = _narrow(weight, _wide(_narrow(weight, _wide(x[row, i]) * scale)) * _wide(weight[i]))


@njit(fastmath=_MATH)
def _turned(x: Any, cos: Any, sin: Any) -> Any:
    """A head (width), turned; `sin` has the sign that turning by a half asks for. Wide."""
    half = len(x) // 2
    out = np.full(len(x), _as(_wide(x[0]), 0))
    for i in range(half):
        one, other = _wide(x[i]), _wide(x[i + half])
        out[i] = one * _wide(cos[i]) + other * _wide(sin[i])
        out[i + half] = other * _wide(cos[i + half]) + one * _wide(sin[i + half])
    return out


@njit(fastmath=_MATH)
def _seen(q: Any, k: Any, v: Any, scale: Any, out: Any) -> None:
    """What a wide q (width) sees in k and v (positions, width)."""
    weights = np.empty(len(k), q.dtype)
    highest = _as(q[0], -np.inf)
    for place in range(len(k)):
        score = _as(q[0], 0)
        for i in range(len(q)):
            score += q[i] * _wide(k[place, i])
        weights[place] = score * scale
        highest = max(highest, weights[place])
    found, total = np.full(len(q), _as(q[0], 0)), _as(q[0], 0)
    for place in range(len(k)):
        weight = math.exp(weights[place] - highest)
        total += weight
        for i in range(len(q)):
            found[i] += weight * _wide(v[place, i])
    for i in range(len(q)):
        out[i] = _narrow(out, found[i] / total)


def _attend(given: Any) -> None:
    """heads, cos, sin, keys, values, starts, out, scale in a float64, rows, heads that ask, heads that hold keys, width,
    positions. Turns queries and keys, writes keys and values at each row's start, and looks at all up to there."""
    n = carray(_numbers(given), (13,))
    rows, asking, holding, width, positions = n[8], n[9], n[10], n[11], n[12]
    heads = carray(_at(given, n[0]), (rows, asking + 2 * holding, width))
    cos, sin = carray(_at(given, n[1]), (rows, width)), carray(_at(given, n[2]), (rows, width))
    keys = carray(_at(given, n[3]), (rows, holding, positions, width))
    values = carray(_at(given, n[4]), (rows, holding, positions, width))
    starts, out = carray(_integers(n[5]), (rows,)), carray(_at(given, n[6]), (rows, asking, width))
    group, scale = asking // holding, _as(_wide(heads[0, 0, 0]), _float(n[7]))
    for unit in range(_thread(), rows * holding, _threads()):
        row, head = unit // holding, unit % holding
        start = starts[row]
        key = _turned(heads[row, asking + head], cos[row], sin[row])
        for i in range(width):
            keys[row, head, start, i] = _narrow(heads, key[i])
            values[row, head, start, i] = heads[row, asking + holding + head, i]
        for asker in range(head * group, head * group + group):
            q = _turned(heads[row, asker], cos[row], sin[row])
            _seen(q, keys[row, head, : start + 1], values[row, head, : start + 1], scale, out[row, asker])


_KERNELS = {"add_low_rank": _add_low_rank, "norm": _norm, "attend": _attend}


for _name in ("omp_get_thread_num", "omp_get_num_threads"):
    binding.add_symbol(_name, ctypes.cast(getattr(openmp(), _name), ctypes.c_void_p).value)


@cache
def _compiled(name: str, dtype: torch.dtype) -> Any:
    # Kept, since its code goes with it.
    stored, kernel = _STORED[dtype], _KERNELS[name]
    # By a name of its own in numba's folder: processes that fill one index at the same time could swap precisions.
    own = FunctionType(kernel.__code__, kernel.__globals__, f"{name}_{stored}")
    own.__qualname__ = own.__name__
    compiling = partial(cfunc, types.void(types.CPointer(stored)), fastmath=_MATH, error_model="numpy")
    try:
        return compiling(cache=True)(own)
    except (RuntimeError, OSError, EOFError):
        # There is no folder that numba may write to, or what lies there is damaged: it compiles at every start.
        return compiling()(own)


class Kernels:
    """The kernels for one precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype, self._parallel, self._threads = dtype, openmp().GOMP_parallel, torch.get_num_threads()
        self._code = {name: _compiled(name, dtype).address for name in _KERNELS}

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

    def add_low_rank(self, x: Tensor, y: Tensor, lines: np.ndarray) -> None:
        """y (rows, 1, outs) += what each row's line of int64 makes of x (rows, 1, ins); see InPlace."""
        rows, places, ins, outs = len(lines), lines.shape[1] // 5, x.shape[-1], y.shape[-1]
        addresses = self._check(x, rows, ins), self._check(y, rows, outs), lines.ctypes.data
        self._run("add_low_rank", rows, *addresses, rows, ins, outs, places)

    def norm(self, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """Root mean square norm of x (rows, 1, width)."""
        out, rows, width = torch.empty_like(x), x.shape[0], x.shape[-1]
        addresses = self._check(x, rows, width), self._check(weight, width), out.data_ptr()
        self._run("norm", rows, *addresses, _bits(epsilon), rows, width)
        return out

    def attend(
        self, heads: Tensor, turns: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor], starts: np.ndarray, scale: float
    ) -> Tensor:
        """What each row's heads see, (rows, 1, those that ask × width), of all up to and with the token at its start, which
        is written there. `heads` (rows, 1, all, width), `turns` cosines and sines (rows, 1, 1, width), `held` keys and
        values (rows or more, heads, positions, width)."""
        rows, _, every, width = heads.shape
        holding, positions = held[0].shape[1:3]
        asking = every - 2 * holding
        out = heads.new_empty(rows, 1, asking * width)
        addresses = [self._check(heads, rows, every, width), *(self._check(turn, rows, width) for turn in turns)]
        addresses += [self._check(kept, len(kept), holding, positions, width) for kept in held]
        self._run("attend", rows * holding, *addresses, starts.ctypes.data, out.data_ptr(), _bits(scale), rows, asking,
                  holding, width, positions)  # fmt: skip
        return out


@cache
def _bits(number: float) -> int:
    return int(np.float64(number).view(np.int64))
