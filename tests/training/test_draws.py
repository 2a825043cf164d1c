"""Random numbers of a model's methods depend only on seed, restart, step and sample."""

import numpy as np
import pytest

from csrl_core import backends
from csrl_core.training.draws import Draw, Use, stream

KEY = np.array([3, 5], np.uint32)


def draw(name="numpy", **changes):
    arguments = {"key": KEY, "restart": 1, "step": 7, "use": Use.TRAINING_NOISE, "rows": np.arange(5)} | changes
    return Draw(backends.get(name).philox, **arguments)


@pytest.mark.parametrize("method", ["uniform", "normal"])
def test_a_samples_numbers_do_not_depend_on_its_batch(method):
    rows = np.array([4, 1, 3])
    whole = getattr(draw(), method)((5, 2, 3))
    np.testing.assert_array_equal(getattr(draw(rows=rows), method)((3, 2, 3)), whole[rows])


def test_bits_have_the_given_probabilities():
    p = np.random.default_rng(0).random((5, 4)).astype(np.float32)
    bits, rows = draw().bernoulli(p), np.array([2, 0])
    assert bits.dtype == np.float32
    np.testing.assert_array_equal(draw(rows=rows).bernoulli(p[rows]), bits[rows])
    np.testing.assert_array_equal(draw().bernoulli(np.ones((5, 4))), 1)


def test_successive_arrays_differ_and_again_repeats_them():
    one = draw()
    first, second = one.normal((5, 2)), one.normal((5, 2))
    assert (first != second).all()
    again = one.again()
    np.testing.assert_array_equal(again.normal((5, 2)), first)
    np.testing.assert_array_equal(again.normal((5, 2)), second)


@pytest.mark.parametrize("changes", [{"restart": 2}, {"step": 8}, {"use": Use.EVALUATION_NOISE}, {"key": KEY + 1}])
def test_what_numbers_depend_on(changes):
    assert (draw(**changes).normal((5, 2)) != draw().normal((5, 2))).all()


def test_words_are_what_kernels_take():
    key, label, step = draw().words(Use.GIBBS_TRAINING, 4)
    np.testing.assert_array_equal(key, KEY)
    assert (label, step) == (stream(Use.GIBBS_TRAINING, 4, 1), 7)


def test_training_is_true_in_training_steps_only():
    assert draw().training
    assert not draw(use=Use.EVALUATION_NOISE).training


def test_moments():
    z, u = draw(rows=np.arange(4000)).normal((4000, 5), 2.0), draw(rows=np.arange(4000)).uniform((4000, 5), -1, 3)
    assert abs(z.mean()) < 4 * 2 / np.sqrt(20000)
    assert abs(z.std() - 2) < 0.05
    assert u.min() >= -1
    assert u.max() < 3
    assert abs(u.mean() - 1) < 4 * (4 / np.sqrt(12)) / np.sqrt(20000)


@pytest.mark.parametrize("use", [Use.TRAINING_NOISE, Use.INITIAL_PARAMETERS, Use.INITIAL_STATE])
def test_backends_draw_alike(use):
    numpy_draw, numba_draw = draw(use=use), draw("numba", use=use)
    np.testing.assert_allclose(numpy_draw.normal((5, 3)), numba_draw.normal((5, 3)), rtol=1e-14)
    np.testing.assert_array_equal(numpy_draw.uniform((5, 3)), numba_draw.uniform((5, 3)))
