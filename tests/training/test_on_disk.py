"""Samples on disk: results are those of an array, to the last bit, and never more than a block of rows is in memory."""

import struct

import numpy as np
import pytest
from fit_helpers import equal
from sklearn.base import clone

from csrl_core import (
    DeepDivergenceClustering,
    InstanceDiscrimination,
    TensorizedAutoencoder,
    TensorizedContrastive,
    TensorizedRBM,
    TensorizedVAE,
)
from csrl_core.callbacks import Checkpoint
from csrl_core.estimators.device_input import check_X
from csrl_core.training import joint, row_files, sample_files, starts
from csrl_core.training.on_disk import BLOCK
from csrl_core.training.row_files import SampleFiles

rng = np.random.default_rng(0)
N, D = BLOCK + 300, 4
X = rng.normal(size=(N, D)) / 2 + 2 * rng.normal(size=(3, D))[rng.integers(0, 3, N)]
UNIT = 1 / (1 + np.exp(-X))
WEIGHT = rng.random(N) * (np.arange(N) % 7 > 0)
FAST = {"n_clusters": 3, "epochs": 2, "batch_size": 2048, "random_state": 0, "backend": "numpy"}
SMALL = FAST | {"hidden": (5,), "latent": 3}
ANNEALING = {"ais_chains": 3, "ais_betas": 5}
MODELS = {
    "autoencoder": (TensorizedAutoencoder(**FAST | {"epochs": 1}), X),
    "one call an epoch": (
        TensorizedAutoencoder(**FAST | {"backend": "numba", "batch_size": 900}, assignment="loss", start="uniform"),
        X,
    ),
    "running centres": (
        TensorizedAutoencoder(
            **FAST | {"backend": "numba", "batch_size": 900},
            **{"assignment": "loss", "center_update": "running", "update": "assign-then-step", "start": "uniform"},
        ),
        X,
    ),
    "an empty cluster": (
        TensorizedAutoencoder(**FAST, assignment="loss", start="uniform", init=np.arange(N) % 2, standing_epochs=2),
        X,
    ),
    "all samples a batch": (TensorizedAutoencoder(**FAST | {"batch_size": None}, hidden=(3, 2), bias=True), X),
    "exact": (TensorizedAutoencoder(**FAST | {"batch_size": None, "epochs": 1}, solver="exact", reg=0), X),
    "layers": (TensorizedAutoencoder(**FAST, encoder=("dense 5 activation=tanh",), decoder=("dense 4",), latent=2), X),
    "machine": (TensorizedRBM(**FAST, **ANNEALING, n_hidden=3, standing_epochs=0), UNIT.astype(np.float32)),
    "chains": (TensorizedRBM(**FAST, **ANNEALING, n_hidden=3, persistent=True, n_chains=5, assignment="cd"), UNIT),
    "gaussian units": (TensorizedRBM(**FAST, **ANNEALING, n_hidden=3, visible="gaussian"), X / 2),
    "vae": (TensorizedVAE(**FAST, hidden=(5,), standing_epochs=1, bound_samples=2), UNIT),
    "contrastive": (TensorizedContrastive(**SMALL, standing_epochs=1, init="random"), X),
    "instance": (InstanceDiscrimination(**SMALL | {"epochs": 1}), X),
    "divergence": (DeepDivergenceClustering(**SMALL | {"epochs": 1, "batch_size": 200}), X),
}


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch):
    """Nothing is too small to stay on disk; larger than everything that fits are k-means' sample, and batches."""
    monkeypatch.setattr(sample_files, "KEPT", 0)
    monkeypatch.setattr(starts, "MOST", 2000 * D)
    monkeypatch.setattr(starts, "LARGE", N)
    monkeypatch.setattr(joint, "LARGE_BATCH", 5000 * D)
    monkeypatch.setattr("csrl_core.estimators.trained.LARGE_BATCH", 5000 * D)
    monkeypatch.setattr(joint, "PART", 3000 * D)


@pytest.fixture
def on_map(tmp_path):
    """Function that gives an array as a memory map."""

    def make(array, name="X.npy"):
        np.save(tmp_path / name, array)
        return np.load(tmp_path / name, mmap_mode="r")

    return make


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MODELS)
def test_results_are_those_of_an_array(name, on_map, monkeypatch):
    estimator, array = MODELS[name]
    read = SampleFiles._rows

    def few(self, numbers):
        assert len(numbers) <= BLOCK
        return read(self, numbers)

    monkeypatch.setattr(SampleFiles, "_rows", few)
    weight = None if name == "autoencoder" else WEIGHT
    held, mapped = clone(estimator), clone(estimator)
    M = on_map(array)
    held.fit(array, sample_weight=weight)
    mapped.fit(M, sample_weight=weight)
    equal(held, mapped)
    assert (mapped.n_reseeded_ > 0) == (name == "an empty cluster")
    for method in ("predict", "transform", "score_samples"):
        np.testing.assert_array_equal(getattr(held, method)(array), getattr(mapped, method)(M), err_msg=method)


def test_a_target_on_disk_is_that_of_an_array(on_map):
    model = TensorizedAutoencoder(**FAST | {"epochs": 1}, start="uniform", assignment="loss", init="k-means")
    clean = X.round(1)
    held = clone(model).fit(X, target=clean)
    equal(held, clone(model).fit(on_map(X), target=on_map(clean, "T.npy")))
    equal(held, clone(model).fit(X, target=on_map(clean, "T.npy")))


def test_a_large_full_batch_is_added_up_from_parts(monkeypatch):
    model = TensorizedAutoencoder(**FAST | {"batch_size": None}, hidden=(3, 2), bias=True, assignment="loss")
    parts = clone(model).fit(X)
    monkeypatch.setattr(joint, "LARGE_BATCH", X.size)
    whole = clone(model).fit(X)
    np.testing.assert_allclose(parts.params_, whole.params_, rtol=1e-9, atol=1e-12)


def test_a_model_that_couples_a_batch_needs_it_in_memory(on_map):
    with pytest.raises(ValueError, match="takes all 8492 samples at once, which are on disk"):
        TensorizedContrastive(**SMALL | {"batch_size": None}).fit(on_map(X))


def test_a_fit_on_an_array_resumes_on_disk(tmp_path, on_map):
    model = TensorizedVAE(**FAST, hidden=(5,), init="k-means", reconstruction_loss="gaussian")
    held = clone(model).set_params(epochs=1).set_callbacks(Checkpoint(tmp_path / "state")).fit(X)
    assert held.n_iter_ == 1
    equal(clone(model).fit(X), clone(model).fit(on_map(X), resume=tmp_path / "state"))
    with pytest.raises(ValueError, match="another X"):
        clone(model).fit(on_map(X + 1), resume=tmp_path / "state")


# -- files ----------------------------------------------------------------------------------------------------


def idx_bytes(array, code):
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("kind", ["files", "idx", "columns", "every third row", "in front"])
def test_rows_are_those_of_the_array(kind, tmp_path):
    if kind == "idx":
        images = rng.integers(0, 256, (N, 2, 3)).astype(np.uint8)
        (tmp_path / "images").write_bytes(idx_bytes(images, 0x08))
        array, samples = images.reshape(N, -1).astype(np.float64), sample_files.opened(tmp_path / "images")
    elif kind == "files":
        array, paths = X, [tmp_path / f"{part}.npy" for part in range(3)]
        for path, part in zip(paths, np.split(X, [10, 4000]), strict=True):
            np.save(path, part)
        samples = sample_files.opened(list(map(str, paths)))
    else:
        np.save(tmp_path / "X.npy", np.tile(X, (3, 2)))
        rows, columns = {
            "columns": (slice(None, N), slice(1, 5)),
            "every third row": (slice(2, None, 3), slice(None)),
            "in front": (slice(7, None), slice(None)),
        }[kind]
        M = np.load(tmp_path / "X.npy", mmap_mode="r")[rows, columns]
        array, samples = np.array(M), sample_files.opened(M)
    assert isinstance(samples, SampleFiles)
    assert samples.shape == array.shape
    some = rng.permutation(len(array))[:500]
    for chosen in (slice(3, 20), slice(3990, 4020), slice(None, None, 1000), some, np.sort(some), np.array([-1, 0, 0])):
        np.testing.assert_array_equal(samples[chosen], array[chosen])
    np.testing.assert_array_equal(samples[5], array[5])
    np.testing.assert_array_equal(samples.load(), array)
    np.testing.assert_array_equal([samples.min(axis=0), samples.max(axis=0)], [array.min(axis=0), array.max(axis=0)])
    np.testing.assert_array_equal(samples.std(), array.std(axis=0))
    with pytest.raises(TypeError, match="would take"):
        np.asarray(samples)
    with pytest.raises(IndexError, match="out of range"):
        samples[[len(array)]]


@pytest.mark.parametrize("backend", ["cupy", "emulated"])
def test_kernels_of_a_device_get_arrays(backend, on_map):
    array = check_X(TensorizedVAE(backend=backend), on_map(X), True)
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, X)


def test_small_data_are_held_in_memory(tmp_path, monkeypatch):
    np.save(tmp_path / "X.npy", X)
    monkeypatch.setattr(sample_files, "KEPT", X.nbytes)
    assert isinstance(sample_files.opened(tmp_path / "X.npy"), np.ndarray)
    M = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert sample_files.opened(M) is M


def test_a_map_that_is_not_its_file_any_more_is_taken_as_an_array(tmp_path):
    for name in ("X.npy", "other.npy"):
        np.save(tmp_path / name, X if name == "X.npy" else X + 1)
    M = np.load(tmp_path / "X.npy", mmap_mode="r")
    private = np.load(tmp_path / "X.npy", mmap_mode="c")
    (tmp_path / "other.npy").replace(tmp_path / "X.npy")
    assert sample_files.opened(M) is M
    assert sample_files.opened(private) is private


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: np.save(p, X[:5, :3]), "b.npy has 3 columns, .*a.npy has 4"),
        (lambda p: np.save(p, X[:5].astype(np.float32)), "b.npy has numbers of float32, .*a.npy .*float64"),
        (lambda p: p.write_bytes(b""), "b.npy is empty"),
        (lambda p: np.save(p, X[:0]), r"b.npy has an array of shape \(0, 4\); expected samples"),
        (lambda p: np.save(p, X[0]), r"b.npy has an array of shape \(4,\); expected samples"),
        (lambda p: np.save(p, np.asfortranarray(X)), "b.npy is stored column by column"),
        (lambda p: np.save(p, np.array([["a", "b"]])), "expected real numbers"),
        (lambda p: p.write_text("1,2\n3,4\n"), "b.npy is neither an NPY nor an IDX file"),
        (lambda p: p.write_bytes(b"\x1f\x8b\x08\x00"), "b.npy is compressed"),
        (lambda p: p.write_bytes(b"\x93NUMPY\x01\x00"), "b.npy is not a whole NPY file"),
        (lambda p: p.write_bytes(idx_bytes(np.zeros(3, np.uint8), 0x08)), "3 numbers in one dimension"),
        (lambda p: p.write_bytes(idx_bytes(np.zeros((3, 4), np.uint8), 0x08)[:-1]), "has 23 bytes, expected 24"),
    ],
)
def test_files_that_do_not_hold_samples_are_refused(make, message, tmp_path):
    np.save(tmp_path / "a.npy", X)
    make(tmp_path / "b.npy")
    with pytest.raises(ValueError, match=message):
        TensorizedVAE(**FAST).fit([tmp_path / "a.npy", tmp_path / "b.npy"])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npy"):
        TensorizedVAE(**FAST).fit(str(tmp_path / "none.npy"))


def test_a_value_that_is_not_finite_is_named(tmp_path):
    for value, kind in ((np.nan, "NaN"), (np.inf, "infinity")):
        bad = X.copy()
        bad[8400, 2] = value
        paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
        for path, part in zip(paths, np.split(bad, [8000]), strict=True):
            np.save(path, part)
        with pytest.raises(ValueError, match=rf"X contains {kind}: row 8400, column 2 \(row 400 of .*b.npy\)"):
            TensorizedRBM(**FAST, visible="gaussian").fit(paths)


def test_a_file_that_is_cut_short_while_it_is_read_is_an_error(tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, X)
    samples = sample_files.opened(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert len(samples[:100]) == 100
    for rows in (slice(6000, None), np.array([8000, 3])):
        with pytest.raises(OSError, match="was changed while it was read"):
            samples[rows]


def test_files_are_closed_beyond_a_number(tmp_path, monkeypatch):
    monkeypatch.setattr(row_files, "OPEN_FILES", 2)
    paths = [tmp_path / f"{number}.npy" for number in range(5)]
    for path, part in zip(paths, np.array_split(X, 5), strict=True):
        np.save(path, part)
    samples = sample_files.opened(paths)
    np.testing.assert_array_equal(samples[:], X)
    assert len(samples._open) == 2
