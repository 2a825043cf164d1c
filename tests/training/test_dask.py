"""Dask: results are those of one machine, whatever the workers, which are real processes, and what becomes of them."""

import numpy as np
import pytest
from sklearn.base import clone

dask = pytest.importorskip("dask", reason="dask is not installed: pip install 'csrl_core[dask]'")
distributed = pytest.importorskip("distributed", reason="distributed is not installed: pip install 'csrl_core[dask]'")
import dask.array as da  # noqa: E402

from csrl_core import (  # noqa: E402
    ContrastiveInstanceDiscrimination,
    DeepDivergenceClustering,
    InstanceDiscrimination,
    TensorizedAutoencoder,
    TensorizedContrastive,
    TensorizedRBM,
    TensorizedVAE,
    estimators,
)
from csrl_core.training import sample_files, starts  # noqa: E402
from csrl_core.training.dask import steps  # noqa: E402
from csrl_core.training.dask.share import added_up  # noqa: E402

rng = np.random.default_rng(0)
N, D = 240, 4
X = rng.normal(size=(N, D)) / 2 + 2 * rng.normal(size=(3, D))[rng.integers(0, 3, N)]
UNIT = 1 / (1 + np.exp(-X))
CHUNKS = (70, 0, 100, 40, 30), D  # a partition without rows among them
WEIGHT = rng.random(N) * (np.arange(N) % 7 > 0)
FAST = {"n_clusters": 3, "epochs": 2, "batch_size": 100, "random_state": 0, "backend": "numpy"}
SMALL = FAST | {"hidden": (5,), "latent": 3}
LOSS = {"assignment": "loss", "start": "uniform", "init": "k-means"}
ANNEALING = {"ais_chains": 3, "ais_betas": 5}
MODELS = {
    "autoencoder": (TensorizedAutoencoder(**FAST | {"epochs": 1}), X),
    "numba": (TensorizedAutoencoder(**FAST | {"backend": "numba"}, hidden=(3, 2), **LOSS), X),
    "running centres": (
        TensorizedAutoencoder(**FAST, center_update="running", update="assign-then-step", **LOSS),
        X.astype(np.float32),
    ),
    "an empty cluster": (
        TensorizedAutoencoder(**FAST, **LOSS | {"init": np.arange(N) % 2}, standing_epochs=2),
        X,
    ),
    "all samples a batch": (TensorizedAutoencoder(**FAST | {"batch_size": None}, hidden=(3, 2), bias=True, **LOSS), X),
    "likelihood": (TensorizedAutoencoder(**FAST | {"epochs": 1}, init="k-means", start="components"), X),
    "exact": (TensorizedAutoencoder(**FAST | {"batch_size": None}, solver="exact", reg=0, init="k-means"), X),
    "machine": (TensorizedRBM(**FAST, **ANNEALING, n_hidden=3, standing_epochs=0), UNIT.astype(np.float32)),
    "chains": (TensorizedRBM(**FAST, **ANNEALING, n_hidden=3, persistent=True, n_chains=5), UNIT),
    "vae": (TensorizedVAE(**FAST, hidden=(5,), standing_epochs=1, bound_samples=2, init="k-means"), UNIT),
    "contrastive": (TensorizedContrastive(**SMALL, standing_epochs=1, init="random"), X),
    "instance": (InstanceDiscrimination(**SMALL | {"epochs": 1}), X),
    "contrastive instance": (ContrastiveInstanceDiscrimination(**SMALL | {"epochs": 1}), X),
    "divergence": (DeepDivergenceClustering(**SMALL | {"epochs": 1}), X),
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def cluster():
    """Three workers of one thread."""
    options = {"n_workers": 3, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options, silence_logs=50) as made:
        yield made


@pytest.fixture
def client(cluster, monkeypatch):
    """A client in use, for which nothing is too small to stay with the workers, and shares are of few rows."""
    monkeypatch.setattr(sample_files, "KEPT", 0)
    monkeypatch.setattr(starts, "LARGE", 0)
    monkeypatch.setattr(steps, "ROWS", 16)
    with distributed.Client(cluster, set_as_default=False) as made, made.as_current():
        yield made


def spread(array, chunks=CHUNKS):
    return da.from_array(array, chunks=chunks)


def equal(one, other):
    """Whether two fits have the same bits."""
    for name in ("labels_", "params_", "loss_curve_", "loss_", "cluster_centers_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.state_.keys() == other.state_.keys()
    for name, array in one.state_.items():
        np.testing.assert_array_equal(array, other.state_[name], err_msg=name)


def alike(one, other):
    """Whether two fits differ by rounding alone."""
    np.testing.assert_array_equal(one.labels_, other.labels_)
    rounding = 1e-9 if one.params_.dtype == np.float64 else 2e-5
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=rounding, atol=rounding)
    np.testing.assert_allclose(one.params_, other.params_, rtol=100 * rounding, atol=rounding)


def test_every_estimator_is_here():
    classes, _ = estimators.ready()
    assert {type(model) for model, _ in MODELS.values()} >= set(classes.values())


@pytest.mark.parametrize("name", MODELS)
def test_results_do_not_depend_on_the_workers(name, client, monkeypatch):
    model, array = MODELS[name]
    if name == "autoencoder":  # its start takes many rounds, which read a copy
        monkeypatch.setattr(sample_files, "KEPT", array.nbytes)
    fit = {} if name in ("autoencoder", "exact") else {"sample_weight": WEIGHT}
    if "background" in type(model).fit.__code__.co_varnames or name == "contrastive instance":
        fit["background"] = array[::2]
    addresses, fitted = sorted(client.nthreads()), []
    for number in (1, 2, 3):
        with dask.annotate(workers=addresses[:number]):
            fitted.append(clone(model).fit(spread(array), **fit))
    alike(clone(model).fit(array, **fit), fitted[0])
    equal(fitted[0], fitted[1])
    equal(fitted[0], fitted[2])


def test_few_samples_are_held_here_as_well(client, monkeypatch):
    model, array = MODELS["vae"]
    away = clone(model).fit(spread(array))
    monkeypatch.setattr(sample_files, "KEPT", array.nbytes)
    alike(away, clone(model).fit(spread(array)))


def test_a_target_on_the_workers_is_that_of_an_array(client):
    model, clean = TensorizedAutoencoder(**FAST, **LOSS), X.round(1)
    held = clone(model).fit(X, target=clean)
    alike(held, clone(model).fit(spread(X), target=spread(clean)))
    alike(held, clone(model).fit(spread(X), target=spread(clean, (100, D))))
    alike(held, clone(model).fit(spread(X), target=clean, sample_weight=da.ones(N, chunks=50)))


def test_a_fit_without_a_client_has_a_cluster_of_its_own(capsys):
    model = TensorizedAutoencoder(**FAST, **LOSS)
    alike(clone(model).fit(X), clone(model).fit(spread(X)))
    assert "no Dask client is in use" in capsys.readouterr().err
    with pytest.raises(ValueError, match="client"):
        distributed.get_client()


def test_gradients_are_added_along_one_tree():
    for count in (1, 2, 3, 5, 8, 13):
        leaves = {(0, number): None if number == 1 else rng.normal(size=3) for number in range(count)}
        whole = added_up(leaves, count)
        assert len(whole) == 1
        for workers in (2, 3):
            parts = {}
            owner = rng.integers(0, workers, count)
            for one in range(workers):
                parts |= added_up({node: a for node, a in leaves.items() if owner[node[1]] == one}, count)
            np.testing.assert_equal(added_up(parts, count), whole)
