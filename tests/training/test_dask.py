"""Dask: results are those of one machine, whatever the workers, which are real processes, and what becomes of them."""

import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from fit_helpers import equal
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
from csrl_core.callbacks import Checkpoint, EpochCallback  # noqa: E402
from csrl_core.training import sample_files, starts  # noqa: E402
from csrl_core.training.dask import placement, share, steps  # noqa: E402
from csrl_core.training.on_disk import SamplesLostError  # noqa: E402

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
    monkeypatch.setattr(placement, "ROWS", 16)
    with distributed.Client(cluster, set_as_default=False) as made, made.as_current():
        yield made


def spread(array, chunks=CHUNKS):
    return da.from_array(array, chunks=chunks)


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
        whole = share.added_up(copies(leaves), count)
        assert len(whole) == 1
        for workers in (2, 3):
            parts = {}
            owner = rng.integers(0, workers, count)
            for one in range(workers):
                parts |= share.added_up(copies({node: a for node, a in leaves.items() if owner[node[1]] == one}), count)
            np.testing.assert_equal(share.added_up(parts, count), whole)


def copies(nodes):
    return {node: None if array is None else array.copy() for node, array in nodes.items()}


def test_busy_workers_give_shares_to_idle_ones():
    assert placement.balanced([{"a": 5}] * 3 + [{"b": 5}], [5] * 4) == ["a", "a", "b", "b"]
    assert placement.balanced([{"a": 9}, {"b": 2}, {"b": 2}], [9, 2, 2]) == ["a", "b", "b"]
    assert placement.balanced([{"a": 3, "b": 3}, {"a": 3, "b": 3}, {}], [3, 3, 1]) == ["a", "b", None]
    assert placement.balanced([{"a": 4, "b": 1}, {"a": 1, "b": 2}], [5, 3]) == ["a", "b"]


def test_neighbours_go_to_one_worker():
    half = [{"a": 8, "b": 7}, {"a": 7, "b": 8}] * 4
    assert placement.owners_of_shares(half, [15] * 8) == ["a"] * 4 + ["b"] * 4
    assert placement.owners_of_shares([{"a": 15}, {"b": 15}] * 4, [15] * 8) == ["a", "b"] * 4  # else half is fetched
    assert placement.owners_of_shares([{"a": 9}, {"b": 2}, {"b": 2}], [9, 2, 2]) == ["a", "b", "b"]
    assert placement.owners_of_shares([{}, {"b": 1}, {"a": 1}], [0, 1, 1]) == ["b", "b", "a"]
    assert placement.owners_of_shares([{}], [1]) == [None]


def test_rows_that_were_gathered_are_those_of_the_step(client, monkeypatch):
    holder = share.Holder(pickle.dumps((None, (X.dtype, []))), {2: (0, [X[:70], X[70:].copy(order="F")])}, 3)
    rows, other = np.array([3, 69, 70, 200]), np.array([3, 69, 71, 200])
    holder.gather({2: rows})
    [gathered] = holder.gathered[2][1]
    assert holder.taken(2, rows)[0] is gathered
    for each in rows, other:
        holder.gather({2: rows})
        np.testing.assert_array_equal(holder.taken(2, each)[0], X[each])
        np.testing.assert_array_equal(holder.taken(2, each)[0], X[each])  # a step may change what it was given

    model, batch_of = TensorizedAutoencoder(**FAST, **LOSS), steps.DaskTrainer._batch

    def wrong(self, order, first, number):
        batch = batch_of(self, order, first, number)
        self.stepper.following = order[: self.batch_size]
        return batch

    whole = clone(model).fit(spread(X))
    monkeypatch.setattr(steps.DaskTrainer, "_batch", wrong)
    equal(whole, clone(model).fit(spread(X)))


# -- faults ---------------------------------------------------------------------------------------------------


def kill(client, address):
    os.kill(client.run(os.getpid, workers=[address])[address], signal.SIGKILL)


def test_a_worker_that_dies_in_a_step_changes_nothing(client, monkeypatch):
    model, calls = TensorizedAutoencoder(**FAST | {"epochs": 3}, **LOSS), []
    whole, result = clone(model).fit(spread(X)), steps.Shares._result

    def dying(self, call):
        calls.append(call)
        if len(calls) == 4:  # in the second step or later: its worker is at it
            kill(client, self.holders[0][2])
        return result(self, call)

    monkeypatch.setattr(steps.Shares, "_result", dying)
    equal(whole, clone(model).fit(spread(X)))
    assert len(calls) > 4


def test_an_interrupt_leaves_the_last_whole_epoch(client, monkeypatch):
    model, calls, result = TensorizedAutoencoder(**FAST, **LOSS), [], steps.Shares._result
    first, whole = (clone(model).set_params(epochs=epochs).fit(spread(X)) for epochs in (1, 2))

    def interrupted(self, call):
        calls.append(call)
        if len(calls) == 10:  # of three a step, three steps an epoch
            signal.raise_signal(signal.SIGINT)
        return result(self, call)

    monkeypatch.setattr(steps.Shares, "_result", interrupted)
    broken = clone(model)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(spread(X))
    equal(first, broken)
    equal(whole, broken.fit(spread(X)))


class Dies(EpochCallback):
    """Kills a process after the second epoch."""

    def __init__(self, process):
        self.process = process

    def on_epoch_end(self, estimator, epoch):
        """Kill it."""
        if epoch.epoch == 1:
            self.process.kill()
            self.process.wait()
        return False


@pytest.mark.parametrize("kept", [0, X.nbytes])
def test_a_fit_resumes_elsewhere_when_the_scheduler_has_died(kept, client, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_files, "KEPT", kept)
    file, path = tmp_path / "scheduler.json", tmp_path / "state"
    model = TensorizedAutoencoder(**FAST | {"epochs": 3}, **LOSS)
    whole, broken = clone(model).fit(spread(X)), clone(model)
    run = [sys.executable, "-m"], ["--no-dashboard", "--scheduler-file", str(file)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with (
        subprocess.Popen([*run[0], "distributed.cli.dask_scheduler", *run[1], "--port", "0"], **quiet) as scheduler,
        subprocess.Popen([*run[0], "distributed.cli.dask_worker", *run[1], "--no-nanny"], **quiet) as worker,
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),  # for which Dask waits that it comes back
    ):
        try:
            with distributed.Client(scheduler_file=str(file), set_as_default=False) as mortal, mortal.as_current():
                broken.set_callbacks(Checkpoint(path), Dies(scheduler))
                with pytest.raises(SamplesLostError, match="samples on the Dask cluster are lost"):
                    broken.fit(spread(X))
        finally:
            scheduler.kill()
            worker.kill()
    assert broken.n_iter_ == 2
    equal(whole, clone(model).set_callbacks(Checkpoint(path)).fit(spread(X), resume=path))


# -- bad input ------------------------------------------------------------------------------------------------


def with_nan(number=150):
    bad = X.copy()
    bad[number, 2] = np.nan
    return bad


def pieces(*arrays, width=D):
    return da.concatenate(
        [da.from_delayed(dask.delayed(array), (array.shape[0], width), np.float64) for array in arrays], axis=0
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: spread(with_nan()), ValueError, r"X contains NaN: row 150, column 2 \(row 80 of partition 2\)"),
        (lambda: pieces(X[:50], X[50:, :3]), ValueError, "partition 1 of X has 3 columns, partition 0 has 4"),
        (lambda: pieces(X[:50], X[50:].astype("O")), ValueError, "partition 1 of X has dtype object"),
        (lambda: pieces(X[:50], scipy.sparse.csr_matrix(X)), TypeError, "partition 1 of X is a scipy.csr_matrix"),
        (lambda: spread(X).map_blocks(scipy.sparse.csr_matrix), TypeError, "dense NumPy arrays are required"),
        (lambda: spread(X.astype("O")), ValueError, "X has dtype object"),
        (lambda: spread(X)[:, da.from_array(np.arange(D) > 0)], ValueError, r"unknown size .*compute_chunk_sizes"),
        (lambda: spread(X[0], 2), ValueError, "Expected 2D array, got 1D"),
        (lambda: spread(X[:0], 2), ValueError, "0 sample"),
        (lambda: dask.delayed(X), TypeError, "expected a Dask array or data frame"),
    ],
)
def test_what_are_no_samples_is_refused(make, error, message, client):
    with pytest.raises(error, match=message):
        TensorizedAutoencoder(**FAST, **LOSS).fit(make())


def test_chunks_of_columns_and_of_unknown_rows_are_put_right(client):
    model = TensorizedAutoencoder(**FAST | {"epochs": 1}, **LOSS)
    whole = clone(model).fit(spread(X))
    with pytest.warns(UserWarning, match="2 chunks along its columns"):
        equal(whole, clone(model).fit(spread(X, (CHUNKS[0], 2))))
    kept = spread(np.concatenate([X, X]), (50, D))[da.from_array(np.arange(2 * N) < N, chunks=50)]
    alike(whole, clone(model).fit(kept))


def test_workers_need_this_package_in_this_version(client):
    model, [address, *_] = TensorizedAutoencoder(**FAST, **LOSS), sorted(client.nthreads())
    client.run(exec, "import csrl_core; csrl_core.__version__ = '0.0.1'", workers=[address])
    with pytest.raises(RuntimeError, match=f"{address} has csrl_core 0.0.1"):
        model.fit(spread(X))
    hidden = "import sys; sys.kept = sys.modules.pop('csrl_core'); sys.modules['csrl_core'] = None"
    client.run(exec, hidden, workers=[address])
    with pytest.raises(RuntimeError, match=f"{address} cannot import it"):
        model.fit(spread(X))
    client.run(exec, "import sys; sys.modules['csrl_core'] = sys.kept", workers=[address])
    client.run(exec, "import csrl_core; csrl_core.__version__ = csrl_core._version.__version__", workers=[address])


def test_data_frames(client):
    frames = pytest.importorskip("dask.dataframe", reason="dask.dataframe needs pandas and pyarrow")
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    model = TensorizedAutoencoder(**FAST | {"epochs": 1}, **LOSS)
    fitted = clone(model).fit(frames.from_pandas(frame, npartitions=3))
    alike(clone(model).fit(frame), fitted)
    assert list(fitted.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="column 'e' of X has values of"):
        clone(model).fit(frames.from_pandas(frame.assign(e="text"), npartitions=2))
