"""What is made of the runs of Figure 2: rates, draws and experiments such as the authors', on tables done by hand."""

from itertools import product
from math import comb

import numpy as np
import pytest

from csrl_core import datasets, metrics, reproduce_authors
from csrl_core.reproduce import Run
from csrl_core.reproduce_authors import Figure, authors_figures, matching_draws
from csrl_core.reproduce_summary import SUBSETS, clustered_error, compared, lines, means, summarise


def run(**changes):
    values = {"version": "papers", "data": "iris", "model": "TAE1", "learning_rate": 0.01, "repetition": 0}
    values |= {"draw": None, "seed": 0, "epochs": 1, "n_init": 1, "hidden": "1", "ARI": 0.5, "NMI": 0.5, "ACC": 0.5}
    values |= {"loss": 1.0, "score": -1.0, "denoising_loss": 1.0, "error": 0.25, "error_assigned": 0.25}
    values |= {"parameters": 24, "n_reseeded": 0, "seconds": 1.0}
    return Run(**values | changes)


def rows_of(runs, panel="clustering"):
    """Rows of a panel by (rate, 0 without one and None if chosen; how it was chosen)."""
    rows = [row for row in summarise(runs) if row.panel == panel]
    return {(None if row.chosen_by else float(row.learning_rate or 0), row.chosen_by): row for row in rows}


# ------------------------------------------------------------------------------------- the authors' figures


def test_the_authors_figures():
    found = authors_figures()
    assert found["clustering", "penguins", "TAE2", 0.01] == Figure(0.936, 0.042, 0.0005)
    assert found["clustering", "penguins", "TAE2", None] == Figure(0.936, 0.042, 0.0005)
    assert found["clustering", "mnist_5", "PTAE", None] == Figure(0.728, 0.010, 0.0005)
    assert found["clustering", "triangle", "AE1", None].value == 0.54
    assert found["clustering", "triangle", "AE3", None].value == 0.79
    assert found["de-noising", "iris", "PTAE", None].value == 0.0341
    assert found["de-noising", "iris", "PTAE", None].rounding == 0.00005
    assert found["de-noising", "parallel_line", "AE1", None].rounding == 0.005
    assert np.isnan(found["clustering", "triangle", "TAE1", None].standard_error)
    assert sum(key[3] is not None for key in found) == 7 * 3 * 3


@pytest.mark.parametrize(
    ("data", "index", "count"),
    [
        ("parallel_line", "0.252", 2),
        ("orthogonal", "0.973", 3),
        ("triangle", "0.848", 2),
        pytest.param("lines_3D", "0.654", 2, marks=pytest.mark.slow),
    ],
)
def test_draws_with_the_authors_k_means_index(data, index, count):
    from sklearn.cluster import KMeans

    found, wanted = matching_draws(data, count), []
    for seed in range(found[-1] + 1):
        bunch = datasets.load(data, random_state=seed)
        means = KMeans(len(bunch.target_names), n_init=10, random_state=0).fit(bunch.data)
        if f"{metrics.adjusted_rand_index(bunch.target, means.labels_):.3f}" == index:
            wanted.append(seed)
    assert found == tuple(wanted)
    assert len(found) == count
    assert matching_draws(data, 1) == found[:1]


def test_an_index_that_no_draw_has(monkeypatch):
    figures = {("clustering", "orthogonal", "k-means", None): Figure(0.1234, np.nan, 0.00005)}
    monkeypatch.setattr(reproduce_authors, "authors_figures", lambda: figures)
    monkeypatch.setattr(reproduce_authors, "SEEDS_A_DRAW", 2)
    with pytest.raises(RuntimeError, match=r"0 of the first 6 draws of orthogonal have a k-means index of 0\.1234"):
        matching_draws.__wrapped__("orthogonal", 3)


# ----------------------------------------------------------------------------------------- rates and draws


def test_rates_are_chosen_by_the_objective_and_by_what_is_measured():
    by_rate = {0.01: [(0.9, 3.0), (0.7, 3.0)], 0.1: [(0.4, 1.0), (0.6, 4.0)]}
    runs = [
        run(version=version, learning_rate=rate, repetition=i, ARI=ari, loss=loss, score=-loss)
        for version in ("papers", "ours")
        for rate, pairs in by_rate.items()
        for i, (ari, loss) in enumerate(pairs)
    ]
    rows = {(row.learning_rate, row.chosen_by): row for row in summarise(runs[:4]) if row.panel == "clustering"}
    assert set(rows) == {("0.01", ""), ("0.1", ""), ("0.1", "objective"), ("0.01", "measure")}
    assert rows["0.1", "objective"].mean == 0.5
    assert rows["0.01", "measure"].mean == pytest.approx(0.8)
    assert rows["0.01", "measure"].standard_error == pytest.approx(0.1)
    assert rows["0.01", "measure"].experiments == 0  # two runs are fewer than theirs
    assert np.isnan(rows["0.01", "measure"].median)
    # Ours: the best objective of every repetition.
    ours = rows_of(runs[4:])
    assert ours[None, "objective"].mean == pytest.approx((0.4 + 0.7) / 2)
    assert ours[None, "objective"].learning_rate == "0.01 0.1"
    assert ours[None, "measure"].mean == pytest.approx(0.8)
    assert ours[None, "objective"].experiments == 0


# Two draws, of which the objective and the measure choose different rates: (ARI of five runs, loss).
DRAWS = {
    (3, 0.01): ([0.9] * 5, 1.0),
    (3, 0.1): ([1.0, 1.0, 1.0, 1.0, 0.9], 2.0),
    (8, 0.01): ([0.71, 0.81, 0.91, 0.81, 0.81], 2.0),
    (8, 0.1): ([0.6] * 5, 1.0),
}


def drawn_runs():
    return [
        run(data="triangle", draw=draw, learning_rate=rate, repetition=5 * (draw == 8) + i, ARI=ari, score=-loss)
        for (draw, rate), (values, loss) in DRAWS.items()
        for i, ari in enumerate(values)
    ]


def test_experiments_on_draws():
    rows = rows_of(drawn_runs())
    # (mean, standard error from the two draws' means a and b: |a − b|/2, lowest, median, highest, reaching, within)
    wanted = {
        # theirs: .980, no standard error; ours .9 ± 0 and .6 ± 0
        (None, "objective"): (0.75, 0.15, 0.6, 0.75, 0.9, 0.0, 0.0),
        # .98 ± .02 and .81 ± .1/√10
        (None, "measure"): (0.895, 0.085, 0.81, 0.895, 0.98, 0.5, 0.5),
        # theirs at this rate: .880 ± .076; ours .9 and .81
        (0.01, ""): (0.855, 0.045, 0.81, 0.855, 0.9, 0.5, 1.0),
        # theirs .980
        (0.1, ""): (0.79, 0.19, 0.6, 0.79, 0.98, 0.5, 0.5),
    }
    assert set(rows) == set(wanted)
    for key, values in wanted.items():
        row = rows[key]
        found = row.mean, row.standard_error, row.low, row.median, row.high, row.reaching, row.within
        assert found == pytest.approx(values, rel=1e-12), key
        assert (row.experiments, row.repetitions) == (2, 10)
    # A draw without all of its runs is in the mean, and no experiment.
    row = rows_of([own for own in drawn_runs() if own.repetition < 9])[None, "measure"]
    assert row.experiments == 1
    assert (row.low, row.high) == pytest.approx((0.98, 0.98))
    assert row.mean == pytest.approx((4.9 + 0.71 + 0.81 + 0.91 + 0.81) / 9)


def test_what_is_printed():
    title, columns, row, *rest = lines(summarise(drawn_runs()))
    assert title == "papers, clustering, chosen by the objective; in brackets the authors'"
    assert " ".join(columns.split()) == "experiments, rate by the objective rate by what is measured"
    wanted = "triangle TAE1 0.75 ± 0.15 [0.98] 0.6 0.75 0.9 0% 0% 0.81 0.895 0.98 50% 50%"
    assert " ".join(row.split()) == wanted
    assert rest[-1].startswith("experiments: means of as many runs as the authors'")


def test_a_mean_of_what_is_dependent():
    values, each = np.array([1.0, 2.0, 4.0, 9.0]), [[0], [1], [2], [3]]
    assert clustered_error(values, each) == pytest.approx(values.std(ddof=1) / 2, rel=1e-14)
    assert clustered_error(values, [[0, 1], [2, 3]]) == pytest.approx((6.5 - 1.5) / 2, rel=1e-14)
    # Unequal clusters: mean 4, sums of deviations −3 and 3, √(2 · 18)/4.
    assert clustered_error(values, [[0], [1, 2, 3]]) == pytest.approx(1.5, rel=1e-14)
    assert np.isnan(clustered_error(values, [[0, 1, 2, 3]]))


# --------------------------------------------------------------------------------------------- experiments


def test_within_a_standard_error():
    value, nan = Figure(1.0, np.nan, 0.0005), float("nan")
    five = np.array([[1.0, 1, 1, 1, 0.2], [1, 1, 1, 0.6, 0.6], [1, 1, 1, 0.9999, 0.999]])
    found, errors = means(five.reshape(1, -1), -np.ones((1, 15)), np.arange(15).reshape(3, 5))
    np.testing.assert_allclose(found, [0.84, 0.84, 0.99978])
    # One run of five that misses by x: mean 1 − x/5 and standard error x/5, always just within; not so two.
    np.testing.assert_allclose(errors[:2], [0.16, 0.4 * np.sqrt(0.3 / 5)])
    assert compared(found, errors, value, 1.0, (0.0, 1.0))[3:] == pytest.approx((1 / 3, 2 / 3))
    assert compared(found, errors, Figure(1.0, 0.1, 0.0005), 1.0, (0.0, 1.0))[4] == pytest.approx(1 / 3)
    # Errors: the less the better; .1594 is .159 as it is printed.
    found, errors = np.array([0.1594, 0.1596, 0.1696, 0.15]), np.array([0.0, 0.0, 0.011, nan])
    assert compared(found, errors, Figure(0.159, nan, 0.0005), -1.0, (0.0, 1.0))[3:] == (0.5, 0.5)
    assert compared(found, errors, Figure(0.159, 0.02, 0.0005), -1.0, (0.0, 1.0))[4] == 1.0


def test_a_rate_that_diverged_is_not_chosen():
    values = np.array([[0.5, 0.5, np.nan], [0.2, 0.3, 0.4]])
    found, _ = means(values, values, np.array([[0, 1, 2], [1, 0, 1]]))
    assert found == pytest.approx([0.3, 0.5])


def test_subsets_of_the_runs_on_one_set():
    # Theirs: .772 ± .098. Six subsets of five, by the one that is left out.
    values = [0.9, 0.8, 0.7, 0.7, 0.6, 0.5]
    row = rows_of([run(repetition=i, ARI=ari) for i, ari in enumerate(values)])[None, "objective"]
    subsets = np.array([(4.2 - ari) / 5 for ari in values])  # .66, .68, .70, .70, .72, .74
    assert row.experiments == 6
    assert (row.low, row.median, row.high) == pytest.approx(tuple(np.quantile(subsets, [0.05, 0.5, 0.95])))
    assert (row.reaching, row.within) == (0.0, pytest.approx(5 / 6))
    # MNIST: three, as theirs; k-means .770 without a standard error.
    runs = [run(data="mnist_5", model="k-means", learning_rate=None, repetition=i, ARI=0.77) for i in range(4)]
    row = rows_of(runs)[None, "objective"]
    assert (row.experiments, row.reaching) == (4, 1.0)


def test_many_subsets_are_a_sample_of_them():
    good = 26
    runs = [run(repetition=i, ARI=float(i < good)) for i in range(40)]
    row = rows_of(runs)[None, "objective"]
    assert row.experiments == SUBSETS < comb(40, 5)
    # Within .772 ± .098 are means of at least four good runs of five: hypergeometric. Four standard errors.
    p = sum(comb(good, m) * comb(40 - good, 5 - m) for m in (4, 5)) / comb(40, 5)
    assert row.within == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / SUBSETS))
    assert row == rows_of(runs)[None, "objective"]


def test_every_experiment_chooses_its_rate():
    # The rate .1 has the better objective on three runs, .01 on the others: of three, what most of them say.
    runs = [
        run(data="mnist_5", learning_rate=rate, repetition=i, ARI=rate, score=float((rate == 0.1) == (i < 3)))
        for rate, i in product((0.01, 0.1), range(6))
    ]
    row = rows_of(runs)[None, "objective"]
    assert row.experiments == 20
    assert (row.low, row.median, row.high) == pytest.approx((0.01, 0.055, 0.1))
