"""Hand-worked values of ARI, NMI and ACC, invariances, and refusals."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csrl_core import metrics

MEASURES = [metrics.adjusted_rand_index, metrics.normalized_mutual_info, metrics.clustering_accuracy]
label_lists = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "accuracy"),
    [
        ([0, 0, 1, 1], [1, 1, 0, 0], 1.0),  # renamed
        ([0, 0, 0, 1], [0, 0, 1, 1], 3 / 4),  # one sample astray
        ([0, 0, 1, 1], [0, 1, 2, 3], 2 / 4),  # more clusters than classes: one cluster each
        ([0, 1, 2, 3], [0, 0, 0, 0], 1 / 4),  # fewer clusters than classes
        # Counts [[2, 3], [0, 2]]: the greedy choice of 3 leaves 0; the diagonal 2 + 2 is best.
        ([0] * 5 + [1] * 2, [0] * 2 + [1] * 3 + [1] * 2, 4 / 7),
        (["a", "b", "b"], [True, False, False], 1.0),
        ([7], [3], 1.0),
    ],
)
def test_accuracy_by_hand(y_true, y_pred, accuracy):
    assert metrics.clustering_accuracy(y_true, y_pred) == pytest.approx(accuracy, abs=1e-15)


def test_all_scores_by_hand():
    # Counts [[2, 0], [1, 1]]. Pairs together in both: 1; in classes 2, in clusters 3, of 6 pairs.
    # ARI = (1 − 2·3/6) / ((2 + 3)/2 − 2·3/6) = 0.
    # Entropies log 2 and H = (3/4) log(4/3) + (1/4) log 4; mutual information H − (1/2) log 2.
    H = 0.75 * np.log(4 / 3) + 0.25 * np.log(4)
    nmi = (H - 0.5 * np.log(2)) / ((np.log(2) + H) / 2)
    found = metrics.scores([0, 0, 1, 1], [0, 0, 0, 1])
    assert found == pytest.approx({"ARI": 0.0, "NMI": nmi, "ACC": 0.75}, abs=1e-14)
    assert all(type(value) is float for value in found.values())


@settings(deadline=None, max_examples=60)
@given(label_lists, st.permutations(range(6)), st.randoms(use_true_random=False))
def test_names_and_order_of_samples_do_not_matter(pairs, names, random):
    y_true, y_pred = np.array(pairs).T
    order = list(range(len(pairs)))
    random.shuffle(order)
    expected = metrics.scores(y_true, y_pred)
    found = metrics.scores(y_true[order], np.array(names)[y_pred][order])
    # sums of at most 30 terms of order one in another order: 1e-12 is some hundred roundings
    assert found == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
def test_accuracy_is_the_best_of_all_maps(pairs):
    y_true, y_pred = np.array(pairs).T
    best = max(np.mean(np.array(names)[y_pred] == y_true) for names in permutations(range(4)))
    assert metrics.clustering_accuracy(y_true, y_pred) == pytest.approx(best, abs=1e-15)


@settings(deadline=None, max_examples=40)
@given(label_lists)
def test_perfect_is_one_and_measures_are_bounded(pairs):
    y_true, y_pred = np.array(pairs).T
    assert metrics.scores(y_true, y_true) == pytest.approx({"ARI": 1, "NMI": 1, "ACC": 1}, abs=1e-12)
    found = metrics.scores(y_true, y_pred)
    assert -0.5 <= found["ARI"] <= 1 + 1e-12
    assert -1e-12 <= found["NMI"] <= 1 + 1e-12
    # some cell of the table is not empty, and it alone can be matched
    assert 1 / len(y_true) <= found["ACC"] <= 1


@pytest.mark.parametrize("measure", [*MEASURES, metrics.scores])
@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([0, 1], [0, 1, 1], r"y_true has 2 labels and y_pred 3, expected the same number"),
        ([], [], r"y_true is empty, expected at least one label"),
        ([[0, 1]], [0, 1], r"y_true has shape \(1, 2\), expected one label per sample"),
        ([0, 1], np.zeros((2, 1)), r"y_pred has shape \(2, 1\), expected one label per sample"),
        ([0, 1], [0.0, 0.5], r"y_pred contains 0\.5, expected discrete labels"),
        ([0, np.nan], [0, 1], r"y_true contains nan, expected discrete labels"),
        ([0, 1], [0, -np.inf], r"y_pred contains -inf, expected discrete labels"),
        (np.array([0, np.nan], object), [0, 1], r"y_true contains NaN, expected discrete labels"),
        (np.ma.masked_array([0, 1], [0, 1]), [0, 1], r"y_true has 1 masked labels"),
        (np.array(["a", None], object), [0, 1], r"y_true mixes labels that cannot be compared"),
    ],
)
def test_bad_labels_are_refused(measure, y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        measure(y_true, y_pred)


def test_whole_numbers_may_be_floats():
    assert metrics.scores([0.0, 0.0, 1.0], [2, 2, 1]) == pytest.approx({"ARI": 1, "NMI": 1, "ACC": 1})
