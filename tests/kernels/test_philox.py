"""Random numbers: known answers, the layout of counters, distribution, limits. Agreement is in test_verify."""

import numpy as np
import pytest
from scipy import stats

from csrl_core import backends as backend
from csrl_core.training.draws import Use, draw_key, stream

KEY = np.array([0xA4093822, 0x299F31D0], dtype=np.uint32)
DRAW = (KEY, 7, 3, 1)  # key, stream, step, substep
ALPHA = 1e-6  # chance that a perfect generator fails a test of its distribution; seeds are fixed


@pytest.fixture(params=["numpy", "numba"])
def philox(request):
    return backend.get(request.param).philox


@pytest.mark.parametrize(
    ("key", "counter", "answer"),
    [
        ([0, 0], [0, 0, 0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 2, [2**32 - 1] * 4, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0xA4093822, 0x299F31D0],
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_known_answers(philox, key, counter, answer):
    words = philox.philox4x32(np.array(counter, dtype=np.uint32), np.array(key, dtype=np.uint32))
    assert words.dtype == np.uint32
    assert words.tolist() == answer


def _words(philox, elements, per_block):
    # A block's number has 64 bits: the lower half is in the counter, the upper half in the key.
    words = [
        philox.philox4x32(
            np.array([e // per_block % 2**32, 1, 3, 7], dtype=np.uint32),
            KEY ^ np.array([0, e // per_block // 2**32], dtype=np.uint32),
        )
        for e in elements
    ]
    words = np.array(words).reshape(len(elements), per_block, -1).astype(np.uint64)
    return words[np.arange(len(elements)), np.array(elements) % per_block]


def test_layout(philox):
    # Element by element from the counter (block, substep, step, stream), by the definition.
    far = 2**33 // 3  # row far has elements on both sides of 2**33, row 2 far of 2**34
    rows, width = [9, 0, 10, far, 2 * far, far + 1, 2 * far + 1, 2**60], 3
    elements = [row * width + column for row in rows for column in range(width)]
    u = (_words(philox, elements, 4)[:, 0] >> np.uint64(8)).astype(float) / 2**24
    assert np.array_equal(philox.uniform(*DRAW, rows, width, np.float64).ravel(), u)
    p = np.linspace(0, 1, len(elements)).reshape(-1, 3)
    assert np.array_equal(philox.bernoulli(p, *DRAW, rows), (u.reshape(-1, 3) < p) * 1.0)

    w = _words(philox, elements, 2)
    u1, u2 = (w[:, i] >> np.uint64(8) for i in (0, 1))
    z = [np.sqrt(-2 * np.log1p(-float(a) / 2**24)) * np.cos(2 * np.pi * float(b) / 2**24) for a, b in zip(u1, u2)]
    np.testing.assert_allclose(philox.normal(*DRAW, rows, width, np.float64).ravel(), z, rtol=0, atol=4e-15)

    count = 11
    w = _words(philox, range(count), 2)
    fine = ((w[:, 0] >> np.uint64(5)) * np.uint64(2**26) + (w[:, 1] >> np.uint64(6))).astype(float) / 2**53
    assert np.array_equal(philox.uniform53(*DRAW, count), fine)
    whole = [int(word) * 1000 >> 32 for word in _words(philox, range(count), 4)[:, 0]]
    assert philox.integers(1000, *DRAW, count).tolist() == whole
    counter = np.array([[e // 2, 0, 3, 7] for e in range(count)], dtype=np.uint32)
    words = philox.philox4x32(counter, KEY).tolist()
    keys = [(w[2 * (e % 2)] << 32) + w[2 * (e % 2) + 1] for e, w in enumerate(words)]
    assert philox.permutation(count, KEY, 7, 3).tolist() == sorted(range(count), key=keys.__getitem__)


def test_rows_are_independent_of_their_company(philox):
    whole = philox.uniform(*DRAW, np.arange(1000), 7, np.float32)
    chosen = np.random.default_rng(0).permutation(1000)[:321]
    assert np.array_equal(philox.uniform(*DRAW, chosen, 7, np.float32), whole[chosen])
    assert np.array_equal(
        philox.normal(*DRAW, chosen, 7, np.float32), philox.normal(*DRAW, range(1000), 7, np.float32)[chosen]
    )


def test_dtypes_and_backends_see_the_same_bits():
    draws = [
        backend.get(name).philox.uniform(*DRAW, np.arange(501), 13, dtype)
        for name in ("numpy", "numba")
        for dtype in (np.float32, np.float64)
    ]
    assert [draw.dtype for draw in draws] == [np.float32, np.float64] * 2
    for draw in draws[1:]:
        assert np.array_equal(draw, draws[0])


def _distance_bound(n):
    # Dvoretzky–Kiefer–Wolfowitz: P(sup |F_n − F| > ε) ≤ 2 exp(−2 n ε²)
    return np.sqrt(np.log(2 / ALPHA) / (2 * n))


def test_distributions(philox):
    n = 40_000
    for u in (philox.uniform(*DRAW, range(n // 8), 8, np.float64).ravel(), philox.uniform53(*DRAW, n)):
        assert u.min() >= 0
        assert u.max() < 1
        assert stats.kstest(u, "uniform").statistic < _distance_bound(n)
    z = philox.normal(*DRAW, range(n // 8), 8, np.float64).ravel()
    assert stats.kstest(z, "norm").statistic < _distance_bound(n)
    assert np.abs(z).max() <= np.sqrt(2 * 24 * np.log(2))  # 1 − u₁ is never below 2⁻²⁴
    counts = np.bincount(philox.integers(10, *DRAW, n), minlength=10)
    assert len(counts) == 10
    assert stats.chisquare(counts).pvalue > ALPHA
    p = np.full((n // 8, 8), 0.3)
    ones = philox.bernoulli(p, *DRAW, range(n // 8)).sum()
    assert stats.binomtest(int(ones), n, 0.3).pvalue > ALPHA


def test_neighbouring_counters_are_uncorrelated(philox):
    n = 20_000
    base = philox.uniform(*DRAW, [0], n, np.float64)[0]
    others = [
        philox.uniform(KEY + np.uint32(1), 7, 3, 1, [0], n, np.float64)[0],
        philox.uniform(KEY, 8, 3, 1, [0], n, np.float64)[0],
        philox.uniform(KEY, 7, 4, 1, [0], n, np.float64)[0],
        philox.uniform(KEY, 7, 3, 2, [0], n, np.float64)[0],
        philox.uniform(*DRAW, [1], n, np.float64)[0],
        np.roll(base, 1),
    ]
    bound = stats.norm.isf(ALPHA / 2) / np.sqrt(n)  # r √n is standard normal for independent columns
    assert all(abs(np.corrcoef(base, other)[0, 1]) < bound for other in others)


def test_permutations(philox):
    order = philox.permutation(1000, KEY, 7, 3)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(1000))
    assert not np.array_equal(order, philox.permutation(1000, KEY, 7, 4))
    # All 24 orders of four things equally often.
    orders = [tuple(philox.permutation(4, KEY, 7, step)) for step in range(2400)]
    counts = [orders.count(each) for each in set(orders)]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > ALPHA


@pytest.mark.parametrize(
    ("rows", "width"),
    [([2**62], 1), ([0, 2**60], 4), ([2**62], 4), ([2**63 - 1], 2**40), ([-1], 3)],
)
def test_elements_out_of_reach(philox, rows, width):
    with pytest.raises(OverflowError, match=rf"rows {min(rows)} to {max(rows)} of width {width}: elements must lie"):
        philox.uniform(*DRAW, rows, width, np.float32)


def test_the_last_element_is_within_reach(philox):
    assert philox.uniform(*DRAW, [2**60 - 1], 4, np.float64).shape == (1, 4)
    assert philox.normal(*DRAW, [2**61 - 1], 2, np.float64).shape == (1, 2)
    with pytest.raises(OverflowError, match="elements must lie in 0 to 2\\*\\*62 - 1"):
        philox.normal(*DRAW, [2**61], 2, np.float64)


@pytest.mark.parametrize("position", [1, 2, 3])
def test_words_of_the_counter_do_not_wrap(philox, position):
    draw = list(DRAW)
    draw[position] = 2**32
    with pytest.raises(OverflowError):
        philox.uniform(*draw, [0], 1, np.float32)


def test_streams_are_apart():
    uses = [int(use) for use in Use]
    assert len(set(uses)) == len(Use)
    words = {stream(use, layer, restart) for use in Use for layer in (0, 1, 255) for restart in (0, 1, 65535)}
    assert len(words) == 9 * len(Use)
    assert max(words) < 2**32
    assert stream(Use.DROPOUT, layer=2, restart=3) == Use.DROPOUT + 2 * 2**8 + 3 * 2**16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((256,), "use=256"), ((0, 256), "layer=256"), ((0, -1), "layer=-1"), ((0, 0, 2**16), "restart=65536")],
)
def test_streams_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=f"{message} is out of range; expected 0 to"):
        stream(*arguments)


def test_key():
    key = draw_key(0)
    assert key.dtype == np.uint32
    assert key.shape == (2,)
    assert np.array_equal(key, draw_key(np.random.RandomState(0)))
    assert not np.array_equal(key, draw_key(1))
    shared = np.random.RandomState(0)
    assert not np.array_equal(draw_key(shared), draw_key(shared))
    assert draw_key(None).shape == (2,)
    # Full words, not the 31 bits of a default integer draw.
    assert max(int(draw_key(seed).max()) for seed in range(20)) >= 2**31
