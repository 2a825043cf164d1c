"""Choosing the number of clusters and the latent width; the same through scikit-learn's own search."""

import csv

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold

from csrl_core import TensorizedAutoencoder, TensorizedRBM, datasets, plotting
from csrl_core.selection import CRITERIA, bic, default_estimator, free_parameters, negative_bic, select

X, Y = datasets.make_triangle(random_state=0)


def estimator(**changes):
    return default_estimator(0).set_params(**{"backend": "numpy", "n_init": 5} | changes)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_three_clusters_of_two_dimensions(criterion):
    seen = []
    selection = select(
        X, n_clusters=range(2, 5), latent=(1, 2), criterion=criterion, estimator=estimator(), random_state=0,
        folds=3, done=lambda count, of: seen.append((count, of)),
    )  # fmt: skip
    assert (selection.best.n_clusters, selection.best.latent) == (3, 2)
    assert seen == [(i, 6) for i in range(1, 7)]
    assert selection.best.value == max(candidate.value for candidate in selection.candidates)
    assert np.isnan(selection.best.error) == (criterion == "bic")
    assert selection.estimator.n_clusters == 3
    assert selection.estimator.hidden == (2,)
    np.testing.assert_array_equal(selection.estimator.predict(X), selection.estimator.labels_)


@pytest.mark.parametrize("name", ["parallel_line", "orthogonal", "lines_3D"])
def test_bic_counts_the_lines(name):
    Z = datasets.load(name, random_state=1).data
    selection = select(Z, n_clusters=range(1, 5), latent=(1, 2), estimator=estimator())
    assert selection.best.n_clusters == (3 if name == "lines_3D" else 2)


def test_bic_is_that_of_a_full_gaussian_where_nothing_is_left_to_choose():
    # One cluster with h = d − 1: every covariance is a mixture of PPCA's, and the densities are the same.
    model = estimator(n_clusters=1, hidden=(4,)).fit(X)
    peer = GaussianMixture(1, reg_covar=0.0).fit(X)
    assert free_parameters(1, 5, 4) == peer._n_parameters() == 20
    assert bic(model, X) == pytest.approx(peer.bic(X), rel=1e-9)
    assert negative_bic(model, X) == -bic(model, X)


def test_free_parameters_by_hand():
    # h = 1: a mean (d), a direction times its spread (d), a noise level (1); one proportion between two clusters.
    assert free_parameters(2, 6, 1) == 2 * (6 + 6 + 1) + 1
    assert free_parameters(1, 6, 2) == 6 + (12 - 1 + 1)


@pytest.mark.parametrize("how", ["held-out", "bic"])
def test_scikit_learns_search_does_the_same(how):
    grid = {"n_clusters": [2, 3, 4], "hidden": [(1,), (2,)]}
    if how == "bic":
        rows = np.arange(len(X))
        search = GridSearchCV(estimator(), grid, scoring=negative_bic, cv=[(rows, rows)])
    else:
        search = GridSearchCV(estimator(), grid, cv=KFold(3, shuffle=True, random_state=0))
    search.fit(X)
    assert search.best_params_ == {"n_clusters": 3, "hidden": (2,)}
    ours = select(X, n_clusters=(2, 3, 4), latent=(1, 2), criterion=how, folds=3, estimator=estimator(), random_state=0)
    values = [c.value for c in sorted(ours.candidates, key=lambda c: (c.latent, c.n_clusters))]
    found = search.cv_results_["mean_test_score"] / (len(X) if how == "bic" else 1)
    np.testing.assert_allclose(found, values, rtol=1e-9)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_automatic_assignment_is_by_likelihood_also_with_one_cluster(criterion):
    both = [
        select(X, n_clusters=(1, 3), latent=(2,), criterion=criterion, folds=3, random_state=0, estimator=each)
        for each in (estimator(assignment="auto"), estimator(assignment="likelihood"))
    ]
    assert [c.value for c in both[0].candidates] == [c.value for c in both[1].candidates]
    assert both[0].best.n_clusters == 3
    assert hasattr(both[0].estimator, "gaussians")


def test_bic_of_automatic_assignment():
    found = [bic(estimator(assignment=how, n_clusters=2).fit(X), X) for how in ("auto", "likelihood")]
    assert found[0] == found[1]
    with pytest.raises(ValueError, match="got assignment='auto', which is by loss with n_clusters=1"):
        bic(estimator(assignment="auto", n_clusters=1).fit(X), X)


def test_curve_and_table(tmp_path):
    selection = select(X, n_clusters=(2, 3), latent=(1, 2), estimator=estimator())
    selection.write(tmp_path / "curve.csv")
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["n_clusters"]), int(row["latent"])) for row in rows] == [(2, 1), (3, 1), (2, 2), (3, 2)]
    assert [int(row["best"]) for row in rows].count(1) == 1
    assert float(rows[0]["value"]) == pytest.approx(selection.candidates[0].value, rel=1e-6)
    ax = selection.plot()
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"1", "2", "best"}
    assert "3 clusters, latent width 2" in ax.get_title()
    plotting.save_figure(ax.figure, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_clusters": ()}, r"n_clusters=\[\]; expected one or more ints"),
        ({"n_clusters": (0, 2)}, r"n_clusters=\[0, 2\]; expected one or more ints of at least 1"),
        ({"latent": (1.5,)}, r"latent=\[1.5\]; expected"),
        ({"latent": 5}, r"latent=5 is not below the 5 features of X"),
        ({"criterion": "aic"}, r"criterion='aic' is unknown; expected one of 'bic', 'held-out'"),
        ({"criterion": "held-out", "folds": 1}, r"folds=1; expected 2 to n_samples=150"),
        ({"n_clusters": 151}, r"n_clusters=151 is more than the 150 samples"),
        ({"estimator": TensorizedAutoencoder(assignment="loss")}, r"has assignment='loss'; expected 'likelihood'"),
        (
            {"estimator": TensorizedAutoencoder(output_activation="relu")},
            r"has assignment='auto', which is by loss with n_clusters=2, output_activation='relu', hidden=\(1,\); exp",
        ),
        ({"estimator": TensorizedRBM()}, r"estimator is a TensorizedRBM; expected a TensorizedAutoencoder"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        select(X, **changes)


def test_bic_of_a_loss():
    model = estimator(assignment="loss", n_clusters=2).fit(X)
    with pytest.raises(ValueError, match="bic needs an estimator with assignment='likelihood', got assignment='loss'"):
        bic(model, X)
