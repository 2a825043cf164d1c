"""Backend "cupy" without a GPU: what is around the kernels, run on a stand-in that keeps host and device apart."""

import re
import sys

import cupy_double
import numpy as np
import pytest
from gpu_helpers import FUNCTIONS

import csrl_core
from csrl_core import BackendError, TensorizedAutoencoder, datasets
from csrl_core import backends as backend
from csrl_core.backends import DeviceMemoryError
from csrl_core.contract import verify
from csrl_core.contract.cases import all_cases
from csrl_core.kernels.gpu._platform import device

PIXELS = {"architecture": "conv", "channels": (3,), "image_shape": (6, 1, 1)}
VARIANTS = {
    "TAE": {},
    "PTAE": {"shared": 1, "update": "assign-then-step", "batch_size": 32},
    "deep": {"hidden": (5, 3), "activation": "relu", "bias": True, "center_update": "running"},
    "sgd": {"hidden": (3,), "activation": "tanh", "center": False, "optimizer": "sgd", "clip_norm": 0.1},
    "empty": {"n_clusters": 12, "init": np.arange(100) % 11, "n_init": 2},
    "random": {"init": "random", "n_init": 2},
    "likelihood": {"assignment": "likelihood", "reg": 0.0, "init": "k-means"},
    "likelihood, batches": {"assignment": "likelihood", "activation": "tanh", "bias": True, "batch_size": 32},
    "exact": {"solver": "exact", "reg": 0.0, "n_init": 2},
    "components": {"start": "components", "shared": 1, "init": "k-means", "optimizer": "sgd"},
    "conv": PIXELS | {"standing_epochs": 2, "batch_size": None},
    "conv, shared": PIXELS | {"shared": 1, "center": False, "batch_size": 32},
    "conv, likelihood": PIXELS | {"assignment": "likelihood", "standing_epochs": 2},
    "layers": {
        "encoder": ["dense 5 activation=tanh shared", "batch_norm", "dropout 0.2"],
        "decoder": ["dense 6"],
        "standing_epochs": 3,
    },
}


@pytest.fixture(scope="module")
def lines():
    return datasets.make_lines_3d(random_state=0)[0][::3]


@pytest.mark.parametrize("function", FUNCTIONS, ids=".".join)
def test_agreement(cupy, function):
    cases = [case for case in all_cases(function[0]) if case.function == function[1]]
    cases = [case for case in cases if "chunks" not in case.name and "many samples" not in case.name]
    results = [verify.check(case, "cupy", "float32") for case in cases]
    assert results
    assert not [str(result) for result in results if not result.ok]


# A dtype changes where nothing lies: float32 for one of each kind of step.
WITH_DTYPES = [(name, "float64") for name in VARIANTS]
WITH_DTYPES += [(name, "float32") for name in ("PTAE", "likelihood, batches", "exact", "layers")]


@pytest.mark.parametrize(("name", "dtype"), WITH_DTYPES)
def test_fits_of_host_and_device_arrays(cupy, lines, name, dtype):
    X = lines.astype(dtype)
    arguments = {"n_clusters": 3, "epochs": 4, "random_state": 0} | VARIANTS[name]
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-4}
    reference = TensorizedAutoencoder(backend="numpy", **arguments).fit(X)
    host = TensorizedAutoencoder(backend="cupy", **arguments).fit(X)
    there = TensorizedAutoencoder(backend="cupy", **arguments).fit(cupy.asarray(X))
    fitted = ("params_", "labels_", "cluster_centers_")
    assert all(type(getattr(host, name)) is np.ndarray for name in fitted)
    assert all(type(getattr(there, name)) is cupy.ndarray for name in fitted)
    assert host.backend_ == there.backend_ == "cupy"
    for model in (host, there):
        np.testing.assert_array_equal(backend.as_numpy(model.labels_), reference.labels_)
        np.testing.assert_allclose(model.loss_curve_, reference.loss_curve_, **tolerance)
        assert model.n_reseeded_ == reference.n_reseeded_
    answers = ["predict", "transform", "transform_all", "reconstruct", "cluster_losses", "score_samples"]
    for name in answers + ["predict_proba"] * ("assignment" in arguments):
        expected, a, b = getattr(reference, name)(X), getattr(host, name)(X), getattr(there, name)(cupy.asarray(X))
        assert (type(a), type(b)) == (np.ndarray, cupy.ndarray), name
        assert a.dtype == b.dtype == expected.dtype
        np.testing.assert_allclose(a, expected, err_msg=name, **tolerance)
        np.testing.assert_allclose(b.get(), expected, err_msg=name, **tolerance)
    np.testing.assert_allclose(there.score(cupy.asarray(X)), reference.score(X), **tolerance)


def test_what_else_a_fitted_model_answers(cupy, lines):
    arguments = {"n_clusters": 3, "epochs": 4, "random_state": 0}
    reference = TensorizedAutoencoder(backend="numpy", **arguments).fit(lines)
    X, there = cupy.asarray(lines), TensorizedAutoencoder(backend="cupy", **arguments).fit(cupy.asarray(lines))
    value, gradient = reference.value_and_gradient(lines, reference.labels_)
    same, also = there.value_and_gradient(X, there.labels_)
    np.testing.assert_allclose((same, also.get()[0]), (value, gradient[0]), rtol=1e-9)
    Z = reference.transform(lines)
    for labels in (None, reference.labels_):
        back = there.inverse_transform(cupy.asarray(Z), None if labels is None else cupy.asarray(labels))
        np.testing.assert_allclose(back.get(), reference.inverse_transform(Z, labels), atol=1e-9)
    weight = np.arange(100.0) % 3
    reference.partial_fit(lines, sample_weight=weight)
    there.partial_fit(X, sample_weight=cupy.asarray(weight))
    np.testing.assert_allclose(there.params_.get(), reference.params_, atol=1e-9)
    noisy = TensorizedAutoencoder(backend="cupy", **arguments).fit(X + 0.1, target=X)
    assert noisy.fit_transform(X).shape == (100, 1)
    integers = TensorizedAutoencoder(backend="cupy", **arguments).fit(cupy.asarray(np.round(lines).astype(np.int64)))
    assert integers.params_.dtype == np.float64


def test_trained_there_and_loaded_here(cupy, lines, tmp_path):
    there = TensorizedAutoencoder(n_clusters=3, epochs=4, random_state=0, backend="cupy").fit(cupy.asarray(lines))
    labels = there.labels_.get()
    there.save(tmp_path / "model")
    here = csrl_core.load(tmp_path / "model", backend="numpy")
    assert type(here.params_) is np.ndarray
    np.testing.assert_array_equal(here.predict(lines), labels)
    again = csrl_core.load(tmp_path / "model")  # host parameters, to the device on demand
    np.testing.assert_array_equal(again.predict(cupy.asarray(lines)).get(), labels)
    assert there.to_cpu() is there
    assert not any(backend.is_device_array(value) for value in [*vars(there).values(), *there.state_.values()])
    np.testing.assert_array_equal(there.set_params(backend="numpy").predict(lines), labels)


def test_a_checkpoint_goes_on_there(cupy, lines, tmp_path):
    from csrl_core.callbacks import Checkpoint

    arguments = {"n_clusters": 3, "random_state": 0, "batch_size": 40}
    whole = TensorizedAutoencoder(epochs=6, backend="numpy", **arguments).fit(lines)
    half = TensorizedAutoencoder(epochs=3, backend="cupy", **arguments)
    half.set_callbacks(Checkpoint(tmp_path / "state")).fit(cupy.asarray(lines))
    first = TensorizedAutoencoder(epochs=6, backend="cupy", **arguments)
    resumed = first.fit(cupy.asarray(lines), resume=tmp_path / "state")
    assert type(resumed.params_) is cupy.ndarray
    assert len(resumed.loss_curve_) == len(whole.loss_curve_)


# -- arguments in the wrong place ----------------------------------------------------------------------------


def test_device_arrays_need_the_backend(cupy, lines):
    for name in ("auto", "numba", "emulated"):
        with pytest.raises(
            ValueError, match=rf"X is a cupy.ndarray on a CUDA device, and backend='{name}' computes on the host"
        ):
            TensorizedAutoencoder(backend=name).fit(cupy.asarray(lines))


def test_mixed_arguments_of_an_estimator(cupy, lines):
    X, model = cupy.asarray(lines), TensorizedAutoencoder(backend="cupy", epochs=1)
    with pytest.raises(
        ValueError, match=r"sample_weight is a numpy.ndarray, X is a cupy.ndarray; expected both on the device"
    ):
        model.fit(X, sample_weight=np.ones(100))
    with pytest.raises(
        ValueError, match=r"sample_weight is a cupy.ndarray, X is a numpy.ndarray; expected both on the host"
    ):
        model.fit(lines, sample_weight=cupy.asarray(np.ones(100)))
    with pytest.raises(ValueError, match=r"target is a numpy.ndarray, X is a cupy.ndarray; expected both"):
        model.fit(X, target=lines)
    with pytest.raises(ValueError, match=r"target is a cupy.ndarray, X is a numpy.ndarray; expected both"):
        model.fit(lines, target=X)


def test_bad_values_on_the_device(cupy, lines):
    model = TensorizedAutoencoder(backend="cupy", epochs=1)
    for X, message in [
        (np.array([[1.0, np.nan]]), "Input X contains NaN or infinity"),
        (np.ones(3), r"Expected 2D array, got 1D array instead: X has shape \(3,\)"),
        (np.ones((0, 3)), r"Found array with shape \(0, 3\)"),
        (np.ones((3, 2), complex), "X has dtype complex128; expected real numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.fit(cupy.asarray(X))
    X = cupy.asarray(lines)
    for weight, message in [
        (-np.ones(100), "Negative values in data passed to `sample_weight`"),
        (np.ones(3), r"sample_weight.shape == \(3,\), expected \(100,\)"),
        (np.full(100, np.inf), "Input sample_weight contains NaN or infinity"),
        (np.zeros(100), "sample_weight is zero everywhere"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.fit(X, sample_weight=cupy.asarray(weight))
    fitted = model.fit(X)
    with pytest.raises(ValueError, match="X has 3 features, but TensorizedAutoencoder is expecting 6 features"):
        fitted.predict(X[:, :3])


def test_arrays_on_another_device(cupy, lines):
    other = cupy_double.ndarray(lines.copy(), device=1)
    model = TensorizedAutoencoder(backend="cupy", epochs=1)
    with pytest.raises(ValueError, match="X lies on CUDA device 1, the current one is 0; move it there, or work under"):
        model.fit(other)
    with pytest.raises(TypeError, match="costs lies on CUDA device 1, the current one is 0"):
        backend.get("cupy").assign.assign(other)


def test_mixed_arguments_of_a_kernel(cupy, lines):
    X, s, w = lines, np.arange(100) % 3, np.ones(100)
    kernel = backend.get("cupy").assign
    message = "assign is a numpy.ndarray; backend 'cupy' expected a cupy.ndarray; cupy.asarray brings it to the device"
    with pytest.raises(TypeError, match=message):
        kernel.cluster_sums(cupy.asarray(X), s, cupy.asarray(w), 3)
    with pytest.raises(TypeError, match=r"X is a cupy.ndarray; backend 'emulated' expected a numpy.ndarray$"):
        backend.get("emulated").assign.cluster_sums(cupy.asarray(X), s, w, 3)
    other = cupy.asarray(w.astype(np.float32))
    with pytest.raises(TypeError, match=r"assign.cluster_sums: weights has dtype float32; the kernel takes float64"):
        kernel.cluster_sums(cupy.asarray(X), cupy.asarray(s), other, 3)


# -- what is missing -----------------------------------------------------------------------------------------


def test_no_driver(use):
    use(devices=None)
    with pytest.raises(
        BackendError, match=r"CuPy 14.0.0 finds no usable NVIDIA driver or GPU \(cudaErrorInsufficientDriver"
    ):
        backend.get("cupy")


def test_no_device(use):
    use(devices=0)
    with pytest.raises(BackendError, match=r"the driver lists no GPU .*CUDA_VISIBLE_DEVICES"):
        backend.get("cupy")


def test_no_cupy(use, monkeypatch):
    use(wheels={})
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it were not installed
    with pytest.raises(BackendError, match=r"needs CuPy, which is not installed; pip install 'csrl_core\[cuda12\]'"):
        backend.get("cupy")


def test_two_cupy_packages(use):
    use(wheels={"cupy-cuda13x": "14.0.0", "cupy-cuda12x": "13.2.0"})
    with pytest.raises(
        BackendError,
        match=r"several CuPy packages are installed \(cupy-cuda12x 13.2.0, cupy-cuda13x 14.0.0\), .*"
        r"pip uninstall cupy-cuda12x cupy-cuda13x, then pip install",
    ):
        backend.get("cupy")


def test_packages_are_found_by_their_names():
    found = device.wheels()
    assert all(name == "cupy" or name.startswith("cupy-") for name in found)


def test_too_little_memory(use, lines):
    cupy = use(free=100_000)
    for X in (np.ones((1000, 6)), cupy.asarray(np.ones((200, 6)))):
        model = TensorizedAutoencoder(backend="cupy", n_clusters=3, random_state=0)
        with pytest.raises(DeviceMemoryError) as raised:
            model.fit(X)
        text = str(raised.value)
        wanted, free, total, fits, rows = (int(number) for number in re.findall(r"\d+", text))
        assert (free, total, rows) == (100_000, 2**34, len(X))
        assert (
            f"backend='cupy': {wanted} bytes of device memory are wanted, 100000 of {2**34} are free; batch_size="
            in text
        )
        assert wanted > free
        assert 0 < fits < rows
        with pytest.raises(DeviceMemoryError):
            TensorizedAutoencoder(backend="cupy", n_clusters=3, batch_size=fits + 1).fit(X)
        TensorizedAutoencoder(backend="cupy", n_clusters=3, batch_size=fits, epochs=1).fit(X)  # fits
    with pytest.raises(DeviceMemoryError, match="so no batch_size would fit"):
        TensorizedAutoencoder(backend="cupy").fit(np.ones((20_000, 6)))


def test_the_doctor_describes_the_device(cupy):
    from csrl_core import doctor

    rows = {name: finding for name, finding, _ in doctor.cuda()}
    assert rows["device"] == "Double, compute capability 9.0"
    assert rows["CUDA runtime"] == "12.9"
    assert rows["CUDA of the driver"] == "12.8"
    assert rows["CuPy"] == "14.0.0"
    assert rows["device memory"] == "8.0 GiB free of 16.0"
