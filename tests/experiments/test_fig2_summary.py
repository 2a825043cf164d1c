"""What is made of the runs of Figure 2: rates, and experiments such as the authors', on tables done by hand."""

from dataclasses import replace
from itertools import product
from math import comb

import numpy as np
import pytest
from scipy.stats import kstest, kstwo
from sklearn.cluster import KMeans

from csrl_core import datasets, metrics
from csrl_core.experiments import fig2_picture
from csrl_core.experiments.authors import _MIXTURES, NO_FIGURE, Figure, authors_draw, authors_figures
from csrl_core.experiments.fig2 import Run
from csrl_core.experiments.fig2_summary import SUBSETS, compared, experiment_means, lines, summarise, uniformity
from csrl_core.experiments.runs import mean_and_error


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


DRAWN = [("parallel_line", 150, 5, 2), ("orthogonal", 150, 5, 2), ("triangle", 150, 5, 3), ("lines_3D", 300, 6, 3)]


def index_by_k_means(X, y, k, seed):
    return metrics.adjusted_rand_index(y, KMeans(k, n_init=10, random_state=seed).fit_predict(X))


@pytest.mark.parametrize(("data", "k"), [("orthogonal", 2), ("triangle", 3)])
def test_k_means_has_the_authors_index_on_their_draw(data, k):
    (X, y, _), theirs = authors_draw(data), authors_figures()["clustering", data, "k-means", None]
    for seed in range(5):  # as they permute rows, and whatever the order
        rows = np.random.default_rng(seed).permutation(len(X))
        assert index_by_k_means(X[rows], y[rows], k, seed) == pytest.approx(theirs.value, abs=theirs.rounding)


@pytest.mark.parametrize(("data", "k"), [("parallel_line", 2), ("lines_3D", 3)])
def test_k_means_ends_in_several_ways_and_theirs_is_a_mean(data, k):
    (X, y, _), theirs = authors_draw(data), authors_figures()["clustering", data, "k-means", None]
    found = [index_by_k_means(X, y, k, seed) for seed in range(10)]
    assert min(found) < theirs.value < max(found)
    # Four standard errors of a mean of five, and of ours of ten.
    assert abs(np.mean(found) - theirs.value) < 4 * np.std(found, ddof=1) * np.sqrt(1 / 5 + 1 / 10)


@pytest.mark.parametrize(("data", "n", "d", "k"), DRAWN)
def test_the_authors_draw(data, n, d, k):
    X, y, noisy = authors_draw(data)
    assert (X.shape, X.dtype, noisy.shape, noisy.dtype) == ((n, d), np.float32, (n, d), np.float32)
    assert y.tolist() == [j for j in range(k) for _ in range(n // k)]
    for first, second in zip((X, y, noisy), authors_draw(data)):
        np.testing.assert_array_equal(first, second)
    # Standard deviations of so many normal numbers: .1 ± .1/√(2 m). Four standard errors.
    for noise in (noisy - X, X[:, -3:]):
        assert noise.std() == pytest.approx(0.1, abs=0.4 / np.sqrt(2 * noise.size))
    # As datasets has it: the root that takes the mixture's normal numbers to points is another one, but Σ = F Fᵀ.
    mean, covariance = mixture_of(data, k, d - 3)
    size, clusters = _MIXTURES[data]
    assert (size, len(clusters)) == (n // k, k)
    for j, (center, cov, _) in enumerate(clusters):
        np.testing.assert_array_equal(center, mean[j])
        np.testing.assert_allclose(cov, covariance[j], rtol=0, atol=1e-14)


def mixture_of(data, k, d):
    """Means and covariances of a mixture of `datasets`, from its answers to zeros and unit vectors."""

    class Units(np.random.RandomState):
        def standard_normal(self, size):
            return np.tile(np.eye(d + 1, d), (k, 1)) if size[1] == d else np.zeros(size)

    X = datasets.load(data, n_samples=k * (d + 1), n_noise=0, random_state=Units()).data.reshape(k, d + 1, d)
    roots = X[:, :d] - X[:, d:]
    return X[:, d], roots.transpose(0, 2, 1) @ roots


@pytest.mark.parametrize("data", [row[0] for row in DRAWN])
def test_the_draw_is_that_of_multivariate_normal(data):
    """NumPy's own samples, after turning round the axes whose sign this machine's LAPACK chooses otherwise."""
    size, clusters = _MIXTURES[data]
    X, _, noisy = authors_draw(data)
    random, parts = np.random.RandomState(0), []
    openblas = "openblas" in np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    for mean, covariance, directions in clusters:
        points = random.multivariate_normal(mean, covariance, size)
        axes = np.linalg.svd(covariance)[2]
        signs = np.ones(len(axes))
        signs[: len(directions)] = np.sign(np.sum(axes[: len(directions)] * directions, axis=1))
        assert not openblas or (signs == 1).all()
        points = mean + (points - mean) @ (axes.T * signs) @ axes
        parts.append(np.hstack([points, random.normal(0, 0.1, 3 * size).reshape(size, 3)]))
    wanted = np.vstack(parts)
    # Rounding to float32, and √(2⁻⁵² λ) < 10⁻⁷ along an axis of no variance, at most five times.
    np.testing.assert_allclose(X, wanted, rtol=2**-24, atol=5e-7)
    wanted += 0.1 * random.normal(0, 1, wanted.size).reshape(wanted.shape)
    np.testing.assert_allclose(noisy, wanted, rtol=2**-24, atol=5e-7)


# ------------------------------------------------------------------------------------------------- rates


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


# Two rates, of which the objective and the measure choose different ones: ARI of five runs, loss.
TWO_RATES = {0.01: ([0.71, 0.81, 0.91, 0.81, 0.81], 1.0), 0.1: ([1.0, 1.0, 1.0, 1.0, 0.9], 2.0)}


def five_runs(data="triangle"):
    return [
        run(data=data, learning_rate=rate, repetition=i, ARI=ari, score=-loss)
        for rate, (values, loss) in TWO_RATES.items()
        for i, ari in enumerate(values)
    ]


def test_one_experiment():
    rows = rows_of(five_runs())
    # (mean, standard error, reaching, within, rank): .81 ± .1/√10 and .98 ± .02
    wanted = {
        # theirs: .980, no standard error
        (None, "objective"): (0.81, 0.1 / np.sqrt(10), 0.0, 0.0, 1.0),
        (None, "measure"): (0.98, 0.02, 1.0, 1.0, 0.5),
        # theirs at this rate: .880 ± .076
        (0.01, ""): (0.81, 0.1 / np.sqrt(10), 0.0, 1.0, 1.0),
        (0.1, ""): (0.98, 0.02, 1.0, 1.0, 0.5),
    }
    assert set(rows) == set(wanted)
    for key, values in wanted.items():
        row = rows[key]
        found = row.mean, row.standard_error, row.reaching, row.within, row.rank
        assert found == pytest.approx(values, rel=1e-12), key
        assert (row.low, row.median, row.high) == pytest.approx((values[0],) * 3)
        assert (row.experiments, row.repetitions) == (1, 5)


def test_what_is_printed():
    title, columns, row, ranks, *rest = lines(summarise(five_runs()))
    assert title == "papers, clustering, chosen by the objective; in brackets the authors'"
    assert " ".join(columns.split()) == "experiments, rate by the objective rate by what is measured"
    wanted = "triangle TAE1 0.81 ± 0.032 [0.98] 0.81 0.81 0.81 0% 0% 1.00 0.98 0.98 0.98 100% 100% 0.50"
    assert " ".join(row.split()) == wanted
    assert ranks == (
        "  ranks of TAE1, TAE2, PTAE as uniform ones, Kolmogorov–Smirnov, rates as above: "
        "1 of mixtures p = 0 and 1; 1 of all p = 0 and 1"
    )
    assert rest[-1].startswith("experiments: means of as many runs as the authors'")


def test_components_stand_beside_the_authors_figure_and_have_no_part_in_the_test_of_ranks():
    plain = five_runs()
    runs = [replace(one, model="TAE1 components") for one in plain]
    assert repr(summarise(runs)) == repr(
        [replace(row, model="TAE1 components") for row in summarise(plain)]
    )  # NaN = NaN
    text = list(lines(summarise(plain + runs)))
    assert [line.split()[:3] for line in text[2:4]] == [
        ["triangle", "TAE1", "0.81"],
        ["triangle", "TAE1", "components"],
    ]
    assert text[5] == list(lines(summarise(plain)))[3]


def test_where_there_are_two_starts_one_is_chosen_with_the_rate():
    """Two starts at two rates, eight runs each: every subset of five is best at one setting, by index or by loss."""
    best_by = {("TAE1", 0.01): (0.3, 4.0), ("TAE1", 0.1): (0.6, 1.0), ("TAE1 components", 0.01): (0.9, 3.0)}
    best_by |= {("TAE1 components", 0.1): (0.5, 2.0)}
    runs = [
        run(model=model, learning_rate=rate, repetition=i, ARI=index + i / 1000, score=-loss)
        for (model, rate), (index, loss) in best_by.items()
        for i in range(8)
    ]
    rows = [row for row in summarise(runs) if row.model == "TAE1 either start"]
    clustering = {row.chosen_by: row for row in rows if row.panel == "clustering"}
    assert {row.panel for row in rows} == {"clustering", "de-noising", "de-noising, clusters of training"}
    assert set(clustering) == {"objective", "measure"}
    assert clustering["measure"].mean == pytest.approx(0.9035)
    assert clustering["measure"].learning_rate == "0.01"
    assert clustering["objective"].mean == pytest.approx(0.6035)
    assert clustering["measure"].experiments == comb(8, 5)
    assert clustering["measure"].theirs == authors_figures()["clustering", "iris", "TAE1", None].value
    assert (clustering["objective"].reaching, clustering["measure"].reaching) == (0, 1)
    assert not [row for row in summarise(runs[:16]) if "either" in row.model]


def test_ranks_are_not_of_what_the_authors_train_otherwise():
    runs = [run(model=model, learning_rate=None, repetition=i) for model in ("k-means", "AE1") for i in range(5)]
    assert all(row.rank == row.rank for row in summarise(runs) if row.panel == "clustering" and row.chosen_by)
    assert not any("Kolmogorov" in line for line in lines(summarise(runs)))


def test_one_run_has_no_standard_error():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    assert mean_and_error(values)[1] == pytest.approx(np.sqrt(38 / 3) / 2, rel=1e-14)
    assert np.isnan(mean_and_error(values[:1])[1])
    assert np.isnan(mean_and_error([])).all()


# --------------------------------------------------------------------------------------------- experiments


def test_within_a_standard_error():
    value, nan = Figure(1.0, np.nan, 0.0005), float("nan")
    five = np.array([[1.0, 1, 1, 1, 0.2], [1, 1, 1, 0.6, 0.6], [1, 1, 1, 0.9999, 0.999]])
    found, errors = experiment_means(five.reshape(1, -1), -np.ones((1, 15)), np.arange(15).reshape(3, 5))
    np.testing.assert_allclose(found, [0.84, 0.84, 0.99978])
    # One run of five that misses by x: mean 1 − x/5 and standard error x/5, always just within; not so two.
    np.testing.assert_allclose(errors[:2], [0.16, 0.4 * np.sqrt(0.3 / 5)])
    assert compared(found, errors, value, 1.0)[3:] == pytest.approx((1 / 3, 2 / 3, 2 / 3 + 1 / 6))
    assert compared(found, errors, Figure(1.0, 0.1, 0.0005), 1.0)[4] == pytest.approx(1 / 3)
    # Errors: the less the better; .1594 is .159 as it is printed.
    found, errors = np.array([0.1594, 0.1596, 0.1696, 0.15]), np.array([0.0, 0.0, 0.011, nan])
    assert compared(found, errors, Figure(0.159, nan, 0.0005), -1.0)[3:] == (0.5, 0.5, 0.5 + 0.25 / 2)
    assert compared(found, errors, Figure(0.159, 0.02, 0.0005), -1.0)[4] == 1.0


def test_the_rank_of_their_figure():
    figure, errors = Figure(0.75, np.nan, 0.005), np.zeros(5)

    def rank(found, sign=1.0, figure=figure):
        return compared(np.array(found), errors, figure, sign)[5]

    assert rank([0.7, 0.71, 0.72, 0.8, 0.9]) == pytest.approx(3 / 5)
    assert rank([0.7, 0.71, 0.72, 0.8, 0.9], -1.0) == pytest.approx(2 / 5)
    # .746 and .754 are .75 as it is printed: half of the equals; .744 and .756 are not.
    assert rank([0.744, 0.746, 0.754, 0.756, 0.9]) == pytest.approx(1 / 5 + 2 / 5 / 2)
    assert rank([0.744, 0.746, 0.754, 0.756, 0.9], -1.0) == pytest.approx(2 / 5 + 2 / 5 / 2)
    assert (rank([0.1] * 5), rank([0.9] * 5), rank([0.75] * 5)) == (1.0, 0.0, 0.5)
    assert rank([np.nan, 0.1, 0.9, 0.9, 0.9]) == pytest.approx(2 / 5)  # what diverged is worse
    assert np.isnan(rank([0.1] * 5, figure=NO_FIGURE))


def with_ranks(worse, equal):
    row = rows_of(five_runs())[None, "measure"]
    return [replace(row, reaching=1 - a, rank=a + b / 2) for a, b in zip(worse, equal)]


def test_ranks_without_equals_are_compared_as_anywhere():
    ranks = np.array([0.03, 0.11, 0.4, 0.42, 0.44, 0.9, 0.97])
    wanted = kstest(ranks, "uniform", method="exact")
    assert uniformity(with_ranks(ranks, np.zeros(7))) == pytest.approx((wanted.statistic, wanted.pvalue), rel=1e-9)
    # Five figures that are better than all of ours: P(all five at one end) = 0 for continuous ranks.
    assert uniformity(with_ranks(np.ones(5), np.zeros(5))) == (1.0, 0.0)


def test_equals_are_spread_evenly():
    assert uniformity(with_ranks([0.0] * 4, [1.0] * 4)) == pytest.approx((0.0, 1.0))
    # Two halves and a step at 1: a share of u · 2/3 up to there.
    distance, _ = uniformity(with_ranks([0.0, 0.0, 1.0], [1.0, 1.0, 0.0]))
    assert distance == pytest.approx(1 / 3)
    # The expectation of the share below u over ranks at random among their equals.
    worse, equal = np.array([0.1, 0.5, 0.5, 0.95]), np.array([0.3, 0.2, 0.0, 0.05])
    ranks = worse + equal * np.random.default_rng(0).random((20_000, 4))
    u = np.linspace(0, 1, 1001)[:, None]
    share = np.array([np.mean(ranks <= at) for at in u])
    distance, p = uniformity(with_ranks(worse, equal))
    # 4 standard errors of a share of 80,000, and the grid's step.
    assert distance == pytest.approx(np.abs(share - u[:, 0]).max(), abs=4 * 0.5 / np.sqrt(80_000) + 0.001)
    # Of a p-value at random this is the cautious side: the mean distance is no less.
    each = [kstest(own, "uniform").statistic for own in ranks[:500]]
    assert distance <= np.mean(each)
    assert p == pytest.approx(kstwo.sf(distance, 4), rel=1e-12)


def test_a_rate_that_diverged_is_not_chosen():
    values = np.array([[0.5, 0.5, np.nan], [0.2, 0.3, 0.4]])
    found, _ = experiment_means(values, values, np.array([[0, 1, 2], [1, 0, 1]]))
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


@pytest.mark.parametrize(
    ("panel", "axis"), [("clustering", "adjusted Rand index"), ("de-noising", "mean squared error")]
)
def test_the_pictures_have_a_panel_for_each_set(tmp_path, panel, axis):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'csrl_core[plot]'")
    rows = summarise([run(data=data, repetition=i) for data in ("iris", "triangle") for i in (0, 1)])
    fig = fig2_picture.draw(tmp_path / "a.png", rows, "papers", panel)
    assert [ax.get_title() for ax in fig.axes] == ["iris", "triangle"]
    assert {ax.get_xlabel() for ax in fig.axes} == {axis}
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ["TAE1"]
    assert {text.get_text() for text in fig.legends[0].get_texts()} == {
        "ours, mean ± standard error",
        "the authors' code",
    }
    assert [text.get_text() for text in fig.axes[0].texts] == (["24"] if panel == "de-noising" else [])
