"""The code of the kernels (see `kernels`): what numba compiles, for one token a row.

Contract: to be imported where `bot.cores.openmp` finds one. `compiled` gives a function of one argument, the address of its
numbers: int64, addresses of tensors among them, as each function here lists them; it is to be called by every thread of an
OpenMP team. Numbers are widened as they are read, added up in float32 (in float64 where the model is in that), and rounded
once. Who else is in the batch changes nothing of a row. numba keeps what it compiled on disk.
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
from numba.extending import intrinsic, overload

from bot.cores import openmp

_MATH = {"reassoc", "contract", "arcp", "nsz"}
"""What the compiler may assume. Not that all numbers are finite: a row that has others must be told from the rest."""
_STORED = {torch.bfloat16: types.uint16, torch.float32: types.float32, torch.float64: types.float64}
_thread = types.ExternalFunction("omp_get_thread_num", types.int32())
_threads = types.ExternalFunction("omp_get_num_threads", types.int32())
_barrier = types.ExternalFunction("GOMP_barrier", types.void())

# The type of the pointer that a kernel is handed says how the tensors are stored.


def _pointer(kind: Any) -> Any:
    """Gives pointers from addresses; `kind` says to what, by the type of the kernel's own pointer."""

    @intrinsic
    def pointer(_: Any, given: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[1], context.get_value_type(signature.return_type))

        return types.CPointer(kind(given.dtype))(given, address), generate

    return pointer


def _seen_as(kind: Any) -> Any:
    """Gives the same bits as another type."""

    @intrinsic
    def seen(_: Any, bits: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(kind))

        return kind(bits), generate

    return seen


def _computed(stored: Any) -> Any:
    """What is computed with for numbers that are stored so."""
    return types.float32 if stored == types.uint16 else stored


_at, _wide_at, _integers = _pointer(lambda stored: stored), _pointer(_computed), _pointer(lambda _: types.int64)
_numbers, _float, _bits = _seen_as(types.CPointer(types.int64)), _seen_as(types.float64), _seen_as(types.int32)


@intrinsic
def _wide(_: Any, stored: Any) -> Any:
    """As it is computed with; bfloat16 is the upper half of float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if stored != types.uint16:
            return args[0]
        whole = ir.IntType(32)
        return builder.bitcast(builder.shl(builder.zext(args[0], whole), ir.Constant(whole, 16)), ir.FloatType())

    return _computed(stored)(stored), generate


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
def _scaled(_: Any, number: Any, bits: Any) -> Any:
    """A float32, multiplied by two to the power that the lowest bits say."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = ir.IntType(32)
        power = builder.shl(args[1], ir.Constant(whole, 23))
        return builder.bitcast(builder.add(builder.bitcast(args[0], whole), power), ir.FloatType())

    return types.float32(number, bits), generate


@intrinsic
def _as(_: Any, like: Any, number: Any) -> Any:
    """`number` in the precision of `like`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[1], number, like)

    return like(like, number), generate


def _exp(x: Any) -> Any:
    """e to the power of x. In float32 so that the compiler may do many at once, which it may not with the system's own:
    relative error 2e-7; as at -87 below it, infinite above 88; NaN stays NaN."""
    raise NotImplementedError("compiled code alone calls this")


_SHIFT, _LOG2E = np.float32(1.5 * 2**23), np.float32(1.4426950408889634)
_LN2, _LN2_REST = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LEAST, _MOST, _ONE, _ENDLESS = np.float32(-87.0), np.float32(88.0), np.float32(1.0), np.float32(np.inf)
# The coefficients of Cephes' expf (Moshier): (e^r - 1 - r) / r² on half of ln 2 to either side of 0.
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)


@overload(_exp, jit_options={"fastmath": {"contract"}})
def _(x: Any) -> Any:
    def single(x: Any) -> Any:
        beyond = x > _MOST
        x = _LEAST if x < _LEAST else x
        x = _MOST if beyond else x
        # The nearest whole number stands in the lowest bits of this sum.
        shifted = x * _LOG2E + _SHIFT
        whole = shifted - _SHIFT
        r = x - whole * _LN2 - whole * _LN2_REST
        p = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
        return _ENDLESS if beyond else _scaled(p * r * r + r + _ONE, _bits(shifted))

    def double(x: Any) -> Any:
        return math.exp(x)

    return single if x == types.float32 else double


@njit(fastmath=_MATH)
def _times(x: Any, a: Any, out: Any) -> None:
    """out (n) = A·x for A (n, m) and x (m), wide."""
    whole = len(a) // 4 * 4
    for j in range(0, whole, 4):
        a0, a1, a2, a3 = a[j], a[j + 1], a[j + 2], a[j + 3]
        zero = _as(out[0], 0)
        s0, s1, s2, s3 = zero, zero, zero, zero
        for i in range(len(x)):
            xi = _wide(x[i])
            s0 += xi * _wide(a0[i])
            s1 += xi * _wide(a1[i])
            s2 += xi * _wide(a2[i])
            s3 += xi * _wide(a3[i])
        out[j], out[j + 1], out[j + 2], out[j + 3] = s0, s1, s2, s3
    for j in range(whole, len(a)):
        total = _as(out[0], 0)
        for i in range(len(x)):
            total += _wide(x[i]) * _wide(a[j, i])
        out[j] = total


@njit(fastmath=_MATH)
def _add_times(c: Any, b: Any, y: Any, first: Any, last: Any) -> None:
    """y += c·B for wide c (n), B (n, m) and y (m), from `first` to `last` of y."""
    out = np.empty(last - first, c.dtype)
    for j in range(len(out)):
        out[j] = _wide(y[first + j])
    whole = len(c) // 4 * 4
    for i in range(0, whole, 4):
        c0, c1, c2, c3 = c[i], c[i + 1], c[i + 2], c[i + 3]
        b0, b1, b2, b3 = b[i, first:last], b[i + 1, first:last], b[i + 2, first:last], b[i + 3, first:last]
        for j in range(len(out)):
            out[j] += c0 * _wide(b0[j]) + c1 * _wide(b1[j]) + c2 * _wide(b2[j]) + c3 * _wide(b3[j])
    for i in range(whole, len(c)):
        for j in range(len(out)):
            out[j] += c[i] * _wide(b[i, first + j])
    for j in range(len(out)):
        y[first + j] = _narrow(y, out[j])


@njit(fastmath=_MATH)
def _share(units: Any) -> Any:
    """This thread's units: neighbours, so that a row stays with a core."""
    here, all = _thread(), _threads()
    return range(units * here // all, units * (here + 1) // all)


@njit(fastmath=_MATH)
def _parts(rows: Any) -> Any:
    """In how many parts a row's work is made, so that cores share even a single row, and some rows evenly."""
    return max(1, 4 * _threads() // rows)


@njit(fastmath=_MATH)
def _part(whole: Any, part: Any, parts: Any, grain: Any) -> Any:
    """From where to where one of the parts goes: what is computed together lies in one, however many there are."""
    grains = (whole + grain - 1) // grain
    return min(grains * part // parts * grain, whole), min(grains * (part + 1) // parts * grain, whole)


HEADER = 9
_TOGETHER, _VECTORS = 4, 32
"""Of A's rows, `_times` does so many at once; of outputs, vectors of the processor hold so many at most."""


@njit(fastmath=_MATH)
def _low_rank(given: Any) -> None:
    """x, y, lines, A·x, rows, ins, outs, places, inner: the header of a kernel that adds to a base's product y of x. A line
    is a row's: A and its ranks, and for every place rank, first of the ranks, first output, outputs and B; an A of 0 adds
    nothing, as lines of 0 do for all. When this is over, y is whole for every thread."""
    n = carray(_numbers(given), (HEADER,))
    rows, ins, outs, places, parts = n[4], n[5], n[6], n[7], _parts(n[4])
    if n[2] == 0:
        return
    x, y = carray(_at(given, n[0]), (rows, ins)), carray(_at(given, n[1]), (rows, outs))
    lines = carray(_integers(given, n[2]), (rows, 2 + 5 * places))
    inner = carray(_wide_at(given, n[3]), (rows, n[8]))
    for unit in _share(rows * parts):
        row, part = unit // parts, unit % parts
        line = lines[row]
        if line[0]:
            first, last = _part(line[1], part, parts, _TOGETHER)
            _times(x[row], carray(_at(given, line[0]), (line[1], ins))[first:last], inner[row, first:last])
    _barrier()
    for unit in _share(rows * parts):
        row, part = unit // parts, unit % parts
        line = lines[row]
        if line[0]:
            for place in range(2, 2 + 5 * places, 5):
                rank, column, start, width = line[place], line[place + 1], line[place + 2], line[place + 3]
                first, last = _part(width, part, parts, _VECTORS)
                if rank and first < last:
                    b = carray(_at(given, line[place + 4]), (rank, width))
                    _add_times(inner[row, column : column + rank], b, y[row, start : start + width], first, last)
    _barrier()


def _add_low_rank(given: Any) -> None:
    _low_rank(given)


@njit(fastmath=_MATH)
def _normed(x: Any, weight: Any, epsilon: Any, out: Any) -> None:
    """Root mean square norm of x (width); rounded before the weight, as transformers does it."""
    total = _as(_wide(weight[0]), 0)
    for i in range(len(x)):
        total += _wide(x[i]) * _wide(x[i])
    scale = _as(total, 1 / math.sqrt(total / len(x) + epsilon))
    for i in range(len(x)):
        out[i] = _narrow(weight, _wide(_narrow(weight, _wide(x[i]) * scale)) * _wide(weight[i]))


def _norm(given: Any) -> None:
    """x, weight, out, ε in a float64, rows, width."""
    n = carray(_numbers(given), (6,))
    rows, width = n[4], n[5]
    x, weight = carray(_at(given, n[0]), (rows, width)), carray(_at(given, n[1]), (width,))
    out, epsilon = carray(_at(given, n[2]), (rows, width)), _float(n[3])
    for row in _share(rows):
        _normed(x[row], weight, epsilon, out[row])


def _join(given: Any) -> None:
    """The header; what y is added to, the norm's weight, its output (0 for none) and ε in a float64. y becomes the sum."""
    _low_rank(given)
    n = carray(_numbers(given), (HEADER + 4,))
    rows, width = n[4], n[6]
    y, before = carray(_at(given, n[1]), (rows, width)), carray(_at(given, n[9]), (rows, width))
    weight, out, epsilon = carray(_at(given, n[10]), (width,)), carray(_at(given, n[11]), (rows, width)), _float(n[12])
    for row in _share(rows):
        for i in range(width):
            y[row, i] = _narrow(before, _wide(y[row, i]) + _wide(before[row, i]))
        if n[11]:
            _normed(y[row], weight, epsilon, out[row])


def _gate(given: Any) -> None:
    """The header, where y is what is gated and then what gates it, and the output: silu of the one times the other."""
    _low_rank(given)
    n = carray(_numbers(given), (HEADER + 1,))
    rows, width, parts = n[4], n[6] // 2, _parts(n[4])
    y, out = carray(_at(given, n[1]), (rows, 2, width)), carray(_at(given, n[9]), (rows, width))
    one = _as(_wide(y[0, 0, 0]), 1)
    for unit in _share(rows * parts):
        row, part = unit // parts, unit % parts
        gated, gating = y[row, 0], y[row, 1]
        first, last = _part(width, part, parts, _VECTORS)
        for i in range(first, last):
            x = _wide(gated[i])
            out[row, i] = _narrow(out, x / (one + _exp(-x)) * _wide(gating[i]))


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
    total = _as(q[0], 0)
    for place in range(len(k)):
        weights[place] = _exp(weights[place] - highest)
        total += weights[place]
    found = np.full(len(q), _as(q[0], 0))
    whole = len(k) // 4 * 4
    for place in range(0, whole, 4):
        w0, w1, w2, w3 = weights[place], weights[place + 1], weights[place + 2], weights[place + 3]
        v0, v1, v2, v3 = v[place], v[place + 1], v[place + 2], v[place + 3]
        for i in range(len(q)):
            found[i] += w0 * _wide(v0[i]) + w1 * _wide(v1[i]) + w2 * _wide(v2[i]) + w3 * _wide(v3[i])
    for place in range(whole, len(k)):
        for i in range(len(q)):
            found[i] += weights[place] * _wide(v[place, i])
    for i in range(len(q)):
        out[i] = _narrow(out, found[i] / total)


def _attend(given: Any) -> None:
    """The header, where y is the heads; cos, sin, keys, values, starts, out, scale in a float64, heads that ask, heads that
    hold keys, width, positions. Turns queries and keys, writes keys and values at each row's start, and looks at all up to
    there."""
    _low_rank(given)
    n = carray(_numbers(given), (HEADER + 11,))
    rows, asking, holding, width, positions = n[4], n[16], n[17], n[18], n[19]
    heads = carray(_at(given, n[1]), (rows, asking + 2 * holding, width))
    cos, sin = carray(_at(given, n[9]), (rows, width)), carray(_at(given, n[10]), (rows, width))
    keys = carray(_at(given, n[11]), (rows, holding, positions, width))
    values = carray(_at(given, n[12]), (rows, holding, positions, width))
    starts, out = carray(_integers(given, n[13]), (rows,)), carray(_at(given, n[14]), (rows, asking, width))
    group, scale = asking // holding, _as(_wide(heads[0, 0, 0]), _float(n[15]))
    for unit in _share(rows * holding):
        row, head = unit // holding, unit % holding
        key, place = _turned(heads[row, asking + head], cos[row], sin[row]), starts[row]
        for i in range(width):
            keys[row, head, place, i] = _narrow(heads, key[i])
            values[row, head, place, i] = heads[row, asking + holding + head, i]
    _barrier()
    for unit in _share(rows * asking):
        row, asker = unit // asking, unit % asking
        q, head, end = _turned(heads[row, asker], cos[row], sin[row]), asker // group, starts[row] + 1
        _seen(q, keys[row, head, :end], values[row, head, :end], scale, out[row, asker])


KERNELS = {"add_low_rank": _add_low_rank, "norm": _norm, "join": _join, "gate": _gate, "attend": _attend}


for _name in ("omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier"):
    binding.add_symbol(_name, ctypes.cast(getattr(openmp(), _name), ctypes.c_void_p).value)


@cache
def compiled(name: str, dtype: torch.dtype) -> Any:
    """A kernel for tensors of this type; its `address` is good for as long as it is kept, which is for ever."""
    stored, kernel = _STORED[dtype], KERNELS[name]
    # By a name of its own in numba's folder: processes that fill one index at the same time could swap precisions.
    own = FunctionType(kernel.__code__, kernel.__globals__, f"{name}_{stored}")
    own.__qualname__ = own.__name__
    compiling = partial(cfunc, types.void(types.CPointer(stored)), fastmath=_MATH, error_model="numpy")
    try:
        return compiling(cache=True)(own)
    except (RuntimeError, OSError, EOFError):
        # There is no folder that numba may write to, or what lies there is damaged: it compiles at every start.
        return compiling()(own)
