"""`csrl_core.mismatch`: known cosines and lines, and objectives of the project's models against finite differences."""

import numpy as np
import pytest
from gradients import differences

from csrl_core import DeepDivergenceClustering, TensorizedAutoencoder, mismatch


def test_cosines_that_one_knows():
    assert mismatch.cosine([3.0, 4.0], [3.0, 4.0]) == 1
    assert mismatch.cosine([3.0, 4.0], [-6.0, -8.0]) == -1
    assert mismatch.cosine([1.0, 0.0], [0.0, 2.0]) == 0
    assert mismatch.cosine([1.0, 0.0], [1.0, 1.0]) == pytest.approx(np.sqrt(0.5))
    assert mismatch.cosine(np.ones((2, 3), np.float32), np.full((2, 3), 1e30, np.float32)) == pytest.approx(1)
    assert mismatch.cosine(np.full(3, 1e-200), [1e-200, 0, 0]) == pytest.approx(np.sqrt(1 / 3))
    for nothing in ([0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]):
        assert np.isnan(mismatch.cosine([1.0, 2.0], nothing))


def test_of_named_gradients_those_that_are_asked_for_count():
    one = {"encoder.0.weight": np.array([[1.0, 0.0]]), "encoder.0.bias": np.zeros(1), "head.bias": np.array([5.0])}
    other = {"encoder.0.weight": np.array([[1.0, 1.0]]), "encoder.0.bias": np.ones(1), "decoder.bias": np.ones(9)}
    assert mismatch.cosine(one, other) == pytest.approx(1 / np.sqrt(3))
    assert mismatch.cosine(one, other, "encoder.0.weight") == pytest.approx(1 / np.sqrt(2))
    assert np.isnan(mismatch.cosine(one, other, ("encoder.0.bias", "head")))
    found = mismatch.pairs({"a": one, "b": other, "c": other}, "encoder.0.weight")
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["b", "c"] == pytest.approx(1)


def test_a_line_of_changes_by_hand():
    """Changes x = 1, 2, 3, 4 and y = 2, 1, 4, 3: Sxx = 5, Sxy = 3, Syy = 5, s² = (5 − 9/5)/2."""
    companion, objective = np.cumsum([7, 1, 2, 3, 4]), np.cumsum([0.5, 2, 1, 4, 3])
    line = mismatch.regression(objective, companion)
    half = 4.302652729749464 * np.sqrt(1.6 / 5)  # Student's t of two degrees of freedom at 97.5 %
    assert line == pytest.approx((0.6, 0.6 - half, 0.6 + half, 0.6, 4))
    stats = pytest.importorskip("scipy.stats")
    theirs = stats.linregress(np.diff(companion), np.diff(objective))
    wider = stats.t.ppf(0.995, 2) * theirs.stderr
    assert mismatch.regression(objective, companion, 0.99)[:4] == pytest.approx(
        (theirs.slope, theirs.slope - wider, theirs.slope + wider, theirs.rvalue)
    )


def test_lines_through_too_few_changes():
    assert mismatch.regression([1, 3, 2], [1, 2, 4])[::3] == (-3, -1)
    assert np.isnan(mismatch.regression([1, 3, 2], [1, 2, 4])[1:3]).all()
    assert np.isnan(mismatch.regression([1, 3], [1, 2])[:4]).all()
    assert np.isnan(mismatch.regression([1, 3, 2, 7], [1, 2, 3, 4])[0])  # the companion changes by 1 always
    flat = mismatch.regression([1, 2, 3, 4], [1, 3, 2, 7])
    assert flat.slope == 0
    assert np.isnan(flat.correlation)
    kept = mismatch.regression([1, np.nan, 3, 2, 9], [1, 8, 2, 4, np.inf])
    assert kept == pytest.approx(mismatch.regression([1, 3, 2], [1, 2, 4]), nan_ok=True)


X = np.random.default_rng(0).normal(size=(24, 8))
SMALL = {"hidden": (5,), "latent": 4, "epochs": 1, "backend": "numpy", "random_state": 0}


def test_objectives_of_any_two_estimators():
    """Of autoencoders with and without centres of clusters, at equal parameters: gradients are those of the values."""
    labels = np.arange(24) % 2
    arguments = {"n_clusters": 2, "init": labels, "epochs": 2, "backend": "numpy", "random_state": 0}
    one = TensorizedAutoencoder(**arguments).fit(X)
    other = TensorizedAutoencoder(**arguments, center=False).fit(X)
    g = mismatch.gradient(one, X, labels)
    h = mismatch.gradient(other, X, labels, params=one.params_)
    assert list(g) == list(one.named_parameters())
    steps = np.zeros(len(one.params_))

    def change():
        return other.value_and_gradient(X, labels, params=one.params_ + steps)[0]

    by = differences(change, steps)
    flat = one.value_and_gradient(X, labels)[1]
    expected = flat @ by / (np.linalg.norm(flat) * np.linalg.norm(by))
    assert mismatch.cosine(g, h) == pytest.approx(expected, abs=1e-6)
    assert 0 < abs(expected) < 0.999


def test_a_companion_is_what_it_adds_to_the_objective():
    """Gradients of "companion" and "clustering" by differences of two estimators' objectives, and detached by terms."""
    whole = DeepDivergenceClustering(companion="uco", companion_weight=0.5, **SMALL).fit(X)
    alone = DeepDivergenceClustering(**SMALL).fit(X)
    full, own = mismatch.gradient(whole, X), mismatch.gradient(alone, X, params=whole.params_)
    parts = whole.objective_gradients(X)
    for name, gradient in parts["clustering"].items():
        np.testing.assert_allclose(24 * gradient, own[name], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(24 * parts["companion"][name], full[name] - own[name], atol=1e-10)
    assert all(not gradient.any() for name, gradient in parts["companion, A constant"].items() if "head" in name)
    assert mismatch.cosine(parts["companion"], parts["block 1"]) == pytest.approx(1)
    named = mismatch.pairs(parts, "encoder.")
    assert named["clustering", "companion"] != pytest.approx(named["clustering", "companion, A constant"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mismatch.cosine([1.0], {"a": [1.0]}), "one gradient has names and the other has not"),
        (lambda: mismatch.cosine([1.0], [1.0, 2.0]), r"shapes \(1,\) and \(2,\); expected the same"),
        (lambda: mismatch.cosine({"a": [1.0]}, {"a": [1.0, 2.0]}), r"gradients of 'a' have shapes \(1,\) and \(2,\)"),
        (lambda: mismatch.cosine({"a": [1.0]}, {"b": [1.0]}), "have no parameters in common: one has a, the other b"),
        (lambda: mismatch.cosine({"a": [1.0]}, {"a": [1.0]}, "b"), r"that begin with \('b',\)"),
        (lambda: mismatch.cosine([1.0], [1.0], "b"), "parameters='b' chooses by name"),
        (lambda: mismatch.regression([1, 2], [1, 2, 3]), r"shape \(2,\) and companion \(3,\)"),
        (lambda: mismatch.regression([1, 2], [1, 2], 95), "confidence=95; expected a number between 0 and 1"),
    ],
)
def test_bad_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call()
