"""Order, seeds and random bits: pure functions of their counters."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from aevb.datasets.batches import (
    Shard,
    binarize,
    epoch_batches,
    random_bits,
    shard_of,
    split_rows,
    steps_per_epoch,
)
from aevb.probability.seeds import counter_seed, generator  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "size"), [(1, 1), (10, 3), (10, 5), (10, 10), (10, 99), (1000, 128)]
)
def test_an_epoch_sees_every_row_once(rows, size):
    batches = list(epoch_batches(rows, size, seed=1, epoch=2))
    assert torch.cat(batches).sort().values.tolist() == list(range(rows))
    assert [len(batch) for batch in batches] == [size] * (rows // size) + [rows % size] * (
        rows % size > 0
    )
    assert len(batches) == steps_per_epoch(rows, size)


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    def order(seed, epoch, size=7):
        return tuple(torch.cat(list(epoch_batches(50, size, seed, epoch))).tolist())

    first = order(3, 5)
    torch.manual_seed(99)
    torch.rand(1)
    assert order(3, 5) == order(3, 5, size=50) == first
    assert len({order(seed, epoch) for seed in range(10) for epoch in range(10)}) == 100
    assert first != tuple(range(50))


def test_every_row_is_as_often_first():
    """Chi-square with 9 degrees of freedom.

    By chance, one in a million families of epochs exceeds the bound.
    """
    first = torch.tensor([next(epoch_batches(10, 1, 0, epoch))[0] for epoch in range(5000)])
    assert float(((first.bincount(minlength=10) - 500) ** 2 / 500).sum()) < chi2.isf(1e-6, 9)


def test_seeds_of_different_uses_are_distinct_and_uniform():
    uses = [
        (seed, name, i) for seed in range(20) for name in ("order", "noise") for i in range(500)
    ]
    uses += [(seed, i) for seed in range(100) for i in range(100)] + [
        (seed,) for seed in range(1000)
    ]
    seeds = [counter_seed(*use) for use in uses]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert (
        len(set(seeds)) == len(uses) == 31_000
    )  # two of them would meet by chance once in 2 * 10^10 times
    for shift in (
        58,
        20,
        0,
    ):  # high, middle and low bits; chi-square, each false alarm one in a million
        counts = np.bincount([(seed >> shift) % 32 for seed in seeds], minlength=32)
        assert ((counts - len(seeds) / 32) ** 2 / (len(seeds) / 32)).sum() < chi2.isf(1e-6, 31)
    assert counter_seed(1, 23) != counter_seed(12, 3)
    assert counter_seed(1, "2") != counter_seed(1, 2)


def test_seeds_do_not_depend_on_the_type_of_an_integer_or_on_the_process():
    assert (
        counter_seed(3, "order", 1)
        == counter_seed(np.int64(3), "order", np.int32(1))
        == 2454738735771746642
    )
    assert torch.equal(
        torch.rand(3, generator=generator(3, 1)), torch.rand(3, generator=generator(3, 1))
    )


@pytest.mark.parametrize(
    ("rows", "fraction", "held"),
    [
        (100, 0.1, 10),
        (100, 0.999, 99),
        (100, 1e-9, 1),
        (7, 0.5, 4),
        (3, 0.1, 1),
        (2, 0.1, 1),
        (2, 0.9, 1),
        (1, 0.5, 0),
    ],
)
def test_a_split_is_disjoint_and_complete(rows, fraction, held):
    rest, apart = split_rows(rows, fraction, seed=0)
    assert sorted(rest.tolist() + apart.tolist()) == list(range(rows))
    assert len(apart) == held
    assert torch.equal(apart, split_rows(rows, fraction, seed=0)[1])
    assert (
        rows < 100
        or fraction != 0.1
        or not torch.equal(apart, split_rows(rows, fraction, seed=1)[1])
    )


def test_binarising_has_the_probability_of_the_grey_level_at_both_ends_exactly():
    ends = torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32)
    assert binarize(torch.zeros(2), ends).tolist() == [0, 0]
    assert binarize(torch.ones(2), ends).tolist() == [1, 1]
    upper = torch.arange(2**24, dtype=torch.int32)  # every value of the bits that count
    for level in (1, 127, 128, 254):
        ones = binarize(torch.tensor(level / 255).expand(2**24), (upper - 2**23) << 8).sum(
            dtype=torch.float64
        )
        assert abs(float(ones) / 2**24 - level / 255) < 2**-23


def test_random_bits_are_uniform_and_the_rows_do_not_depend_on_the_shard():
    whole = random_bits(3, 1, 2, Shard(0, 10, 10), 785)
    parts = [
        random_bits(3, 1, 2, Shard(first, rows, 10), 785)
        for first, rows in [(0, 3), (3, 6), (9, 1)]
    ]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(random_bits(3, 1, 3, Shard(0, 10, 10), 785), whole)
    assert not torch.equal(random_bits(3, 2, 2, Shard(0, 10, 10), 785), whole)
    many = random_bits(0, 0, 0, Shard(0, 2000, 2000), 100).double()
    # The mean of 200,000 uniform numbers, and of the products of neighbours, within five standard
    # errors.
    assert abs(float(many.mean())) < 5 * 2**32 / math.sqrt(12 * 200_000)
    assert abs(float((many[:, 1:] * many[:, :-1]).mean())) < 5 * 2**64 / 12 / math.sqrt(198_000)
    assert abs(float((many[1:] * many[:-1]).mean())) < 5 * 2**64 / 12 / math.sqrt(199_900)


@pytest.mark.parametrize("total", [1, 2, 7, 100])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_shards_cover_a_batch_once(total, world):
    shards = [shard_of(total, rank, world) for rank in range(world)]
    real = [shard for shard in shards if shard.weight > 0]
    assert [row for shard in real for row in range(shard.first, shard.first + shard.rows)] == list(
        range(total)
    )
    assert sum(shard.weight for shard in shards) == pytest.approx(1)
    assert all(shard.rows > 0 for shard in shards)
