"""The compiled kernels against the same in torch, in every precision they know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bot.cores import openmp
from bot.engine.local.factors import Factors
from bot.engine.local.in_place import InPlace
from bot.engine.local.projections import Group, Product

if openmp() is None:
    pytest.skip("torch computes on other threads here", allow_module_level=True)
from bot.engine.local.kernels import Kernels

# Relative to the largest number: three digits are what bfloat16 has.
NEAR = {torch.bfloat16: 2e-2, torch.float32: 2e-5, torch.float64: 1e-12}
dtypes = pytest.mark.parametrize("dtype", NEAR, ids=str)
WIDTHS = (6, 4, 4)


def close(found: Tensor, wanted: Tensor) -> None:
    assert found.dtype == wanted.dtype
    assert (found.double() - wanted.double()).abs().max() <= NEAR[found.dtype] * wanted.double().abs().max().clamp(min=1)


@pytest.fixture(params=[1, 2, 5])
def threads(request: Any) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def factors(ranks: tuple[int, ...], ins: int, dtype: torch.dtype, seed: int) -> Factors:
    chance = torch.Generator().manual_seed(seed)
    a = torch.randn(sum(ranks), ins, generator=chance).to(dtype)
    b = {
        (0, place): torch.randn(rank, WIDTHS[place], generator=chance).to(dtype) for place, rank in enumerate(ranks) if rank
    }
    return Factors({0: a}, b, {0: ranks})


def some(dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    chance = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=chance).to(dtype) for shape in shapes]


def product(row: Factors | None, x: Tensor) -> Tensor:
    """What a row adds, in float64."""
    parts = []
    for place, width in enumerate(WIDTHS):
        if row is None or not row.ranks[0][place]:
            parts.append(torch.zeros(width, dtype=torch.float64))
        else:
            parts.append(x.double() @ row.own(0, place).double().T @ row.b[0, place].double())
    return torch.cat(parts)


@dtypes
@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.one_of(st.none(), st.tuples(*[st.integers(0, 9)] * 3).filter(any)), min_size=1, max_size=9),
    ins=st.integers(1, 33),
    seed=st.integers(0, 99),
)
def test_every_row_is_added_its_own(dtype: torch.dtype, rows: list[Any], ins: int, seed: int) -> None:
    mixes = [ranks and factors(ranks, ins, dtype, seed + number) for number, ranks in enumerate(rows)]
    chance = torch.Generator().manual_seed(seed)
    x = torch.randn(len(rows), 1, ins, generator=chance).to(dtype)
    y = torch.randn(len(rows), 1, sum(WIDTHS), generator=chance).to(dtype)
    wanted = torch.stack([before[0].double() + product(mix, one[0]) for mix, one, before in zip(mixes, x, y, strict=True)])
    found = y.clone()
    InPlace(Kernels(dtype), mixes).add(Group(0, Product(torch.zeros(14, ins), None), WIDTHS), x, found)
    close(found[:, 0], wanted.to(dtype))
    for mix, one, before in zip(mixes, found, y, strict=True):
        assert mix is not None or torch.equal(one, before), "a row without a mix stays as it is, to the bit"


@dtypes
def test_a_row_is_the_same_to_the_bit_whoever_is_beside_it(dtype: torch.dtype, threads: int) -> None:
    group = Group(0, Product(torch.zeros(14, 40), None), WIDTHS)
    mixes = [factors((3, 0, 5), 40, dtype, seed) for seed in range(5)]
    x = torch.randn(5, 1, 40, generator=torch.Generator().manual_seed(1)).to(dtype)
    together = torch.zeros(5, 1, 14, dtype=dtype)
    InPlace(Kernels(dtype), mixes).add(group, x, together)
    for number, mix in enumerate(mixes):
        alone = torch.zeros(1, 1, 14, dtype=dtype)
        InPlace(Kernels(dtype), [mix]).add(group, x[number : number + 1], alone)
        assert torch.equal(alone[0], together[number])


@dtypes
@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so_and_with_its_row(dtype: torch.dtype, odd: float) -> None:
    mixes = [factors((2, 2, 2), 8, dtype, seed) for seed in range(2)]
    mixes[0].b[0, 1][0, 0] = odd
    y = torch.zeros(2, 1, 14, dtype=dtype)
    InPlace(Kernels(dtype), mixes).add(Group(0, Product(torch.zeros(14, 8), None), WIDTHS), torch.ones(2, 1, 8).to(dtype), y)
    assert not y[0].isfinite().all()
    assert y[1].isfinite().all()
    x = torch.ones(2, 1, 8, dtype=dtype)
    x[0, 0, 3] = odd
    normed = Kernels(dtype).norm(x, torch.ones(8, dtype=dtype), 1e-5)
    assert not normed[0].isfinite().all()
    assert normed[1].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_the_norm_is_transformers_own(dtype: torch.dtype, threads: int) -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    norm = LlamaRMSNorm(48, 1e-5).to(dtype)
    norm.weight.data = torch.randn(48).to(dtype)
    x = (torch.randn(3, 1, 48) * 7).to(dtype)
    close(Kernels(dtype).norm(x, norm.weight, 1e-5), norm(x).detach())


@dtypes
@pytest.mark.parametrize(("asking", "holding"), [(6, 2), (4, 4), (3, 1)])
def test_attention_turns_writes_and_sees_all_up_to_its_start(
    dtype: torch.dtype, asking: int, holding: int, threads: int
) -> None:
    rows, width, positions, starts = 3, 8, 12, np.array([0, 5, 11])
    turn, kept = (rows, 1, 1, width), (rows + 1, holding, positions, width)
    heads, cos, sin, keys, values, x = some(
        dtype, (rows, 1, asking + 2 * holding, width), turn, turn, kept, kept, (rows, 1, 4)
    )
    before, flat = (keys.clone(), values.clone()), heads.view(rows, 1, -1)
    found = Kernels(dtype).attend(x, flat, None, (cos, sin), (keys, values), starts, 0.3)
    one, other = heads.double().chunk(2, -1)
    turned = heads.double() * cos.double() + torch.cat((other, one), -1) * sin.double()
    for row, start in enumerate(starts.tolist()):
        before[0][row, :, start] = turned[row, 0, asking : asking + holding].to(dtype)
        before[1][row, :, start] = heads[row, 0, asking + holding :]
        q = turned[row, 0, :asking].view(holding, -1, width)
        k, v = (held[row, :, : start + 1].double() for held in before)
        seen = F.scaled_dot_product_attention(q, k, v, scale=0.3)
        close(found[row, 0], seen.reshape(-1).to(dtype))
    close(keys, before[0])
    assert torch.equal(values, before[1]), "nothing else is written"


@dtypes
@pytest.mark.parametrize("mixed", [True, False])
def test_a_product_joins_what_it_is_added_to(dtype: torch.dtype, mixed: bool, threads: int) -> None:
    mixes = [factors((3, 0, 5), 40, dtype, seed) if mixed and seed else None for seed in range(3)]
    x, y, before, weight = some(dtype, (3, 1, 40), (3, 1, 14), (3, 1, 14), (14,))
    wanted = (
        before.double()
        + y.double()
        + torch.stack([product(mix, one[0]) for mix, one in zip(mixes, x, strict=True)])[:, None]
    )
    kernels, group = Kernels(dtype), Group(0, Product(torch.zeros(14, 40), None), WIDTHS)
    lines = InPlace(kernels, mixes).lines(group)
    assert (lines is not None) == mixed
    plain = y.clone()
    assert kernels.join(x, plain, lines, before) is plain
    close(plain, wanted.to(dtype))
    normed = kernels.join(x, y, lines, before, (weight, 1e-5))
    assert torch.equal(y, plain), "the sum is there with its norm too"
    assert torch.equal(normed, kernels.norm(plain, weight, 1e-5)), "the norm is the one of what was rounded"


@dtypes
@pytest.mark.parametrize("mixed", [True, False])
def test_halves_are_gated(dtype: torch.dtype, mixed: bool, threads: int) -> None:
    mixes = [factors((3, 0, 5), 40, dtype, seed) if mixed and seed else None for seed in range(3)]
    x, y = some(dtype, (3, 1, 40), (3, 1, 14))
    added = torch.stack([product(mix, one[0]) for mix, one in zip(mixes, x, strict=True)])[:, None]
    gate, up = (y.double() + added).to(dtype).double().chunk(2, -1)
    kernels, group = Kernels(dtype), Group(0, Product(torch.zeros(14, 40), None), WIDTHS)
    close(kernels.gate(x, y, InPlace(kernels, mixes).lines(group)), (F.silu(gate) * up).to(dtype))


@dtypes
@settings(max_examples=200, deadline=None)
@given(number=st.floats(width=32, allow_nan=False))
def test_silu_is_near_wherever_it_is_taken(dtype: torch.dtype, number: float) -> None:
    gated = torch.full((1, 1, 1), number, dtype=dtype)
    y = torch.cat((gated, torch.ones_like(gated)), -1)
    found, wanted = Kernels(dtype).gate(y, y.clone(), None), F.silu(gated.double()).to(dtype)
    near = {torch.bfloat16: 1e-2, torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
    assert torch.allclose(found.double(), wanted.double(), rtol=near, atol=1e-35, equal_nan=True)


@dtypes
def test_what_is_not_a_number_stays_so_in_every_kernel(dtype: torch.dtype) -> None:
    kernels, nothing = Kernels(dtype), float("nan")
    x, y = torch.ones(2, 1, 4, dtype=dtype), torch.ones(2, 1, 14, dtype=dtype)
    y[0] = nothing
    for found in (kernels.gate(x, y.clone(), None), kernels.join(x, y.clone(), None, torch.ones_like(y))):
        assert found[0].isnan().all()
        assert found[1].isfinite().all()
    heads, turn = torch.ones(2, 1, 12, dtype=dtype), torch.ones(2, 1, 1, 4, dtype=dtype)
    heads[0] = nothing
    held = torch.ones(2, 1, 3, 4, dtype=dtype), torch.ones(2, 1, 3, 4, dtype=dtype)
    seen = kernels.attend(x, heads, None, (turn, turn), held, np.array([1, 1]), 1.0)
    assert seen[0].isnan().all()
    assert seen[1].isfinite().all()


def test_what_does_not_fit_is_refused_before_anything_is_written() -> None:
    mix, group = factors((2, 2, 2), 8, torch.float32, 1), Group(0, Product(torch.zeros(14, 8), None), WIDTHS)
    x, y = torch.ones(2, 1, 8), torch.zeros(2, 1, 14)
    for wrong in ((x[:1], y), (x, y[:1]), (x.double(), y), (x, y.bfloat16()), (x, torch.zeros(14, 2).T.unsqueeze(1))):
        with pytest.raises(ValueError, match="a kernel takes"):
            InPlace(Kernels(torch.float32), [mix, mix]).add(group, *wrong)
    kernels = Kernels(torch.float32)
    lines = InPlace(kernels, [mix] * 3).lines(group)
    with pytest.raises(ValueError, match="takes 2 rows' lines, not 3"):
        kernels.gate(x, y, lines)
    with pytest.raises(ValueError, match="a kernel takes halves, not 13"):
        kernels.gate(x, torch.zeros(2, 1, 13), None)
    with pytest.raises(ValueError, match="a kernel takes"):
        kernels.join(x, y, None, y[:1])
    turn, held, starts = torch.ones(2, 1, 1, 2), torch.zeros(2, 1, 3, 2), np.zeros(2, np.int64)
    for wrong_held, wrong_starts in ((held[:1], starts), (held, starts[:1]), (held, starts.astype(np.int32))):
        with pytest.raises(ValueError, match="of 2 rows"):
            kernels.attend(x, y, None, (turn, turn), (wrong_held, wrong_held), wrong_starts, 1.0)
    assert not y.any()
    assert not held.any()


def test_nothing_but_zeros_is_normed_to_what_torch_gives() -> None:
    assert Kernels(torch.float32).norm(torch.zeros(1, 1, 4), torch.ones(4), 0.0).isnan().all()
