"""Answers to Dask collections: Dask arrays, computed when they are asked for, equal to answers to arrays."""

import inspect

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone

dask = pytest.importorskip("dask", reason="dask is not installed: pip install 'csrl_core[dask]'")
distributed = pytest.importorskip("distributed", reason="distributed is not installed: pip install 'csrl_core[dask]'")
import dask.array as da  # noqa: E402

from csrl_core import (  # noqa: E402
    ClusterSpecific,
    ContrastiveInstanceDiscrimination,
    DeepDivergenceClustering,
    InstanceDiscrimination,
    TensorizedAutoencoder,
    TensorizedContrastive,
    TensorizedRBM,
    TensorizedVAE,
    estimators,
)
from csrl_core.estimators.row_by_row import Answers  # noqa: E402
from csrl_core.models.base import ClusterModel  # noqa: E402

rng = np.random.default_rng(0)
N, D = 120, 4
X = rng.random((N, D))
LENGTHS = 40, 0, 50, 30  # a partition without rows among them
FAST = {"n_clusters": 3, "epochs": 1, "batch_size": 60, "random_state": 0, "backend": "numpy"}
SMALL = FAST | {"hidden": (5,), "latent": 3}
LOSS = {"assignment": "loss", "start": "uniform", "init": "k-means"}
NUMBERS = {"fit", "fit_predict", "fit_transform", "partial_fit", "score", "value_and_gradient", "objective_gradients"}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Noisy(ClusterModel):
    """Squared distances to a point, with noise that depends on the sample's number."""

    decode = None

    def init_parameters(self, X, n_clusters, draw):
        return {"point": draw.normal((n_clusters, X.shape[1]))}

    def losses(self, params, X, target, centers, draw):
        return ((X[:, None] - params["point"]) ** 2).sum(axis=2) + draw.normal((len(X), len(centers)))

    def gradient(self, params, X, target, centers, assign, weights, draw):
        gradient = np.zeros_like(params["point"])
        np.add.at(gradient, assign, 2 * weights[:, None] * (params["point"][assign] - X))
        return {"point": gradient}

    def embed(self, params, X, centers, draw):
        return np.repeat(X[:, None], len(centers), axis=1) + draw.normal((len(X), 1, 1))


MODELS = {
    "likelihood": TensorizedAutoencoder(**FAST, init="k-means", start="components"),
    "loss": TensorizedAutoencoder(**FAST, **LOSS, hidden=(3, 2)),
    "machine": TensorizedRBM(**FAST, ais_chains=3, ais_betas=5, n_hidden=3),
    "vae": TensorizedVAE(**FAST, hidden=(5,), bound_samples=2, init="k-means"),
    "contrastive": TensorizedContrastive(**SMALL, init="random"),
    "instance": InstanceDiscrimination(**SMALL),
    "contrastive instance": ContrastiveInstanceDiscrimination(**SMALL),
    "divergence": DeepDivergenceClustering(**SMALL),
    "draws": ClusterSpecific(Noisy(), **FAST, init="random"),
}


@pytest.fixture(autouse=True)
def synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def fitted():
    model = TensorizedAutoencoder(**FAST, **LOSS, hidden=(3, 2))
    return model.fit(X)


def spread(array, lengths=LENGTHS):
    return da.from_array(array, chunks=(lengths, *((size,) for size in array.shape[1:])))


def cut(array, lengths=LENGTHS):
    """The same samples in partitions whose lengths Dask does not know."""
    kept = spread(np.concatenate([array, array]), (*lengths, *lengths))
    return kept[da.from_array(np.arange(2 * len(array)) < len(array), chunks=((*lengths, *lengths),))]


def answering(model):
    """Names of the methods that give each row of X a row."""
    for name, method in inspect.getmembers(type(model), callable):
        takes_X = not name.startswith("_") and list(inspect.signature(method).parameters)[1:2] == ["X"]
        if takes_X and name not in NUMBERS and hasattr(model, name):
            yield name


def test_every_estimator_is_here():
    classes, _ = estimators.ready()
    assert {type(model) for model in MODELS.values()} >= set(classes.values())


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_lazy_and_those_to_an_array(name):
    model, computed = clone(MODELS[name]), []
    model.fit(X, **({"background": X[::2]} if name == "contrastive instance" else {}))

    def counted(block):
        computed.append(len(block))
        return block

    collections = [each.map_blocks(counted, meta=np.empty((0, D))) for each in (spread(X), cut(X))]
    methods = list(answering(model))
    assert {"predict", "transform", "transform_all", "cluster_losses", "score_samples"} <= {*methods}
    for method in methods:
        expected = getattr(model, method)(X)
        for collection in collections:
            lazy = getattr(model, method)(collection)
            assert not computed, method
            assert isinstance(lazy, da.Array)
            np.testing.assert_array_equal(lazy.chunks[0], collection.chunks[0])
            assert (lazy.dtype, lazy.shape[1:]) == (expected.dtype, expected.shape[1:])
            assert (lazy._meta.dtype, lazy._meta.ndim) == (expected.dtype, expected.ndim)
            np.testing.assert_array_equal(lazy.compute(), expected, err_msg=method)
            computed.clear()
    assert model.score(collections[0]) == model.score(X)


def test_embeddings_are_decoded_lazily(fitted):
    Z, labels = fitted.transform(X), fitted.predict(X)
    for collection in (spread(X), cut(X)):
        lazy = fitted.transform(collection), fitted.predict(collection)
        np.testing.assert_array_equal(fitted.inverse_transform(*lazy).compute(), fitted.inverse_transform(Z, labels))
        np.testing.assert_array_equal(fitted.inverse_transform(lazy[0]).compute(), fitted.inverse_transform(Z))
    np.testing.assert_array_equal(fitted.inverse_transform(Z=Z, labels=labels), fitted.inverse_transform(Z, labels))
    decoded = fitted.inverse_transform(Z=spread(Z), labels=labels)
    np.testing.assert_array_equal(decoded.compute(), fitted.inverse_transform(Z, labels))
    with pytest.raises(ValueError, match=r"labels has shape \(119,\), Z has shape \(120, 2\)"):
        fitted.inverse_transform(spread(Z), labels[1:])
    with pytest.raises(ValueError, match="partitions of unknown length"):
        fitted.inverse_transform(cut(Z), labels)


def test_images_and_chunks_of_columns_are_put_right(fitted):
    with pytest.warns(UserWarning, match="2 chunks along its columns"):
        lazy = fitted.predict(da.from_array(X, chunks=(LENGTHS, (2, 2))))
    np.testing.assert_array_equal(lazy.compute(), fitted.predict(X))
    model = InstanceDiscrimination(**SMALL, image_shape=(2, 2)).fit(X.reshape(N, 2, 2))
    np.testing.assert_array_equal(model.transform(spread(X.reshape(N, 2, 2))).compute(), model.transform(X))


def test_the_model_is_as_it_was_when_it_was_asked_and_once_in_the_graph(fitted):
    model = clone(fitted).partial_fit(X)
    expected, lazy = model.transform(X), model.transform(spread(X))
    model.partial_fit(X)
    model.params_[...] = 0
    np.testing.assert_array_equal(lazy.compute(), expected)
    assert sum(str(key).startswith("model-") for key in dict(lazy.__dask_graph__())) == 1


def test_workers_get_nothing_that_belongs_to_the_samples():
    model = InstanceDiscrimination(**SMALL).fit(X)
    sent = Answers(model, "predict", {}).estimator
    assert not [name for name, array in sent.state_.items() if len(array) == N]
    assert not hasattr(sent, "labels_")
    assert len(model.labels_) == len(model.state_["bank"]) == N


def test_units_of_another_scale_come_back(fitted):
    from csrl_core.estimators.scaling import Scaling

    model = clone(fitted).fit(X)
    model.scaling_ = Scaling.of("minmax", X[:60])
    with pytest.warns(UserWarning, match="set to its ends"):
        np.testing.assert_array_equal(model.reconstruct(spread(X)).compute(), model.reconstruct(X))


# -- bad input ------------------------------------------------------------------------------------------------


def with_nan():
    bad = X.copy()
    bad[95, 2] = np.nan
    return bad


def of_pieces(*arrays):
    parts = [da.from_delayed(dask.delayed(array), (array.shape[0], D), np.float64) for array in arrays]
    return da.concatenate(parts, axis=0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: spread(with_nan()), ValueError, r"X contains NaN: row 95, column 2 \(row 5 of partition 3\)"),
        (lambda: cut(with_nan()), ValueError, r"X contains NaN: row 5 of partition 3, column 2"),
        (lambda: of_pieces(X[:50], X[50:, :3]), ValueError, "partition 1 of X has 3 columns; expected 4"),
        (lambda: of_pieces(X[:50], X[50:].astype("O")), ValueError, "partition 1 of X has dtype object"),
        (lambda: of_pieces(X[:50], scipy.sparse.csr_array(X)), TypeError, "partition 1 of X is a scipy.csr_array"),
    ],
)
def test_a_partition_that_is_no_samples_is_named_when_it_is_computed(make, error, message, fitted):
    lazy = fitted.predict(make())
    with pytest.raises(error, match=message):
        lazy.compute()


def test_values_that_a_model_cannot_take_are_named():
    lazy = clone(MODELS["machine"]).fit(X).predict(spread(X * (1 + np.arange(N) // 90)[:, None]))
    with pytest.raises(ValueError, match=r"partition 3 of X: visible='bernoulli' needs values in \[0, 1\]"):
        lazy.compute()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: spread(X[:, :3]), ValueError, "X has 3 features, but TensorizedAutoencoder is expecting 4"),
        (lambda: spread(X.astype("O")), ValueError, "X has dtype object"),
        (lambda: dask.delayed(X), TypeError, "expected a Dask array or data frame"),
    ],
)
def test_what_are_no_samples_is_refused_at_once(make, error, message, fitted):
    with pytest.raises(error, match=message):
        fitted.predict(make())


def test_frames_are_no_output(fitted):
    model = clone(fitted).fit(X).set_output(transform="pandas")
    with pytest.raises(ValueError, match="is a Dask array, no pandas frame"):
        model.transform(spread(X))
    np.testing.assert_array_equal(model.predict(spread(X)).compute(), model.predict(X))


def test_data_frames():
    frames = pytest.importorskip("dask.dataframe", reason="dask.dataframe needs pandas and pyarrow")
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    model, lazy = TensorizedAutoencoder(**FAST, **LOSS).fit(frame), frames.from_pandas(frame, npartitions=3)
    for method in ("predict", "transform", "score_samples"):
        answer = getattr(model, method)(lazy)
        np.testing.assert_array_equal(answer.compute(), getattr(model, method)(frame))
        assert np.isnan(answer.shape[0])
    assert model.score(lazy) == model.score(frame)
    for columns in (list("abdc"), list("abc")):
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(lazy[columns])
    with pytest.raises(ValueError, match="column 'e' of X has values of"):
        model.predict(lazy.assign(e="text"))
    odd = lazy.map_partitions(lambda part: part[list("bacd")], meta=frame[:0], enforce_metadata=False)
    with pytest.raises(ValueError, match=r"a partition of X has the columns \['b', 'a', 'c', 'd'\]"):
        model.predict(odd).compute()


# -- workers --------------------------------------------------------------------------------------------------


def test_other_processes_compute_them(fitted):
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
        dask.config.set(scheduler=None),
    ):
        held = spread(X).persist()
        np.testing.assert_array_equal(fitted.predict(held).compute(), fitted.predict(X))
        bad = fitted.predict(spread(with_nan()))
        with pytest.raises(ValueError, match=r"row 95, column 2 \(row 5 of partition 3\)"):
            bad.compute()
        assert fitted.score(held) == fitted.score(X)
        client.run(exec, "import csrl_core; csrl_core.__version__ = '0.0.1'")
        with pytest.raises(RuntimeError, match=r"has csrl_core 0\.0\.1"):
            fitted.predict(held)
