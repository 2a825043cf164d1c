"""Damaged and forged files are refused with the name of the wrong entry; old files are still read."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from sklearn.base import clone

import csrl_core
from csrl_core import TensorizedAutoencoder, TensorizedRBM, callbacks
from csrl_core.training.file_checks import digest_of
from csrl_core.training.persistence import ModelFileError

HERE = Path(__file__).resolve().parents[1]
RANDOM = np.random.RandomState(0)
X = np.concatenate([RANDOM.rand(20, 4) + 3 * c for c in range(3)])
B = (RANDOM.rand(60, 6) < np.repeat([[0.1], [0.9]], 30, axis=0)).astype(np.float32)


def autoencoder(**changes):
    return TensorizedAutoencoder(
        **{"n_clusters": 3, "hidden": (2, 1), "init": "k-means", "epochs": 4, "n_init": 2, "random_state": 0}
        | {"assignment": "loss", "start": "uniform"}  # defaults when the files in tests/data were written
        | changes
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of a model, a machine's model and a checkpoint."""
    folder = tmp_path_factory.mktemp("files")
    autoencoder().set_callbacks(callbacks.Checkpoint(folder / "checkpoint")).fit(X).save(folder / "model")
    machine = TensorizedRBM(
        n_hidden=3, persistent=True, n_chains=4, epochs=1, ais_betas=5, ais_chains=3, random_state=0
    )
    machine.fit(B).save(folder / "machine")
    return {name: folder / name for name in ("model", "machine", "checkpoint")}


@pytest.fixture
def forge(files, tmp_path):
    """A function that rewrites a file with changed entries and a valid checksum; it returns what reads the file."""

    def write(name, change):
        header, arrays = parts(files[name])
        change(header, arrays)
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        header.pop("digest", None)
        header["digest"] = digest_of(header, arrays)
        path = tmp_path / "forged"
        path.write_bytes(safetensors.numpy.save(arrays, {"csrl_core": json.dumps(header)}))
        if name == "checkpoint":
            return lambda: autoencoder().fit(X, resume=path)
        return lambda: csrl_core.load(path)

    return write


def parts(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["csrl_core"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def put(name, at, value):
    def change(header, arrays):
        arrays[name] = arrays[name].copy()
        arrays[name].flat[at] = value

    return change


def swap(name, function):
    return lambda header, arrays: arrays.update({name: function(arrays[name])})


def lose(name):
    return lambda header, arrays: arrays.pop(name)


def say(*path_and_value):
    def change(header, arrays):
        *path, last, value = path_and_value
        for key in path:
            header = header[key]
        header[last] = value

    return change


def unsay(*path):
    def change(header, arrays):
        for key in path[:-1]:
            header = header[key]
        del header[path[-1]]

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "checkpoint",
            put("run.state.assign", 3, 100_000),
            "'run.state.assign' ranges from 0 to 100000; expected 0 to 2",
        ),
        ("checkpoint", put("run.state.assign", 3, -5), "'run.state.assign' ranges from -5 to 2; expected 0 to 2"),
        ("checkpoint", put("best.state.assign", 3, 3), "'best.state.assign' ranges from 0 to 3; expected 0 to 2"),
        ("checkpoint", swap("run.moments", lambda a: a[:, :-1]), r"'run.moments' has shape \(2, .*expected \(2, "),
        ("checkpoint", swap("run.params", lambda a: a[:-1]), r"'run.params' has shape"),
        ("checkpoint", swap("best.state.assign", lambda a: a[:-1]), r"'best.state.assign' has shape \(59,\).*\(60,\)"),
        ("checkpoint", swap("key", lambda a: a.astype(np.int64)), "'key' has shape .2,. and dtype int64; .* uint32"),
        ("checkpoint", lose("run.state.sums"), "lacks the array 'run.state.sums'"),
        ("checkpoint", lose("run.state.assign"), "lacks the array 'run.state.assign'"),
        ("checkpoint", swap("run.loss_curve", lambda a: a[:-1]), "3 losses of 4 epochs; it is damaged"),
        ("checkpoint", unsay("run", "step"), "the number step is missing; expected an int from 0 to 4294967295"),
        ("checkpoint", say("run", "epoch", 1.5), "the number epoch is 1.5; expected an int"),
        ("checkpoint", say("run", []), r"has run=\[\] in its header"),
        ("checkpoint", say("best_score", "high"), "the number best_score is 'high'; expected a float"),
        ("model", swap("params", lambda a: a[:-1]), r"'params' has shape \(59,\) .*expected \(60,\)"),
        ("model", swap("params", lambda a: a.astype(np.float16)), "'params' has dtype float16; expected float32 or"),
        ("model", put("params", 0, np.nan), "'params' has values that are not finite"),
        ("model", put("state.centers", 0, np.inf), "'state.centers' has values that are not finite"),
        ("model", put("state.counts", 0, -1), "'state.counts' ranges from -1"),
        (
            "model",
            swap("state.centers", lambda a: a.astype(np.float32)),
            "'state.centers' has shape .* float32; .*float64",
        ),
        ("model", put("labels", 0, 7), "'labels' ranges from 0 to 7; expected 0 to 2"),
        ("model", lose("state.centers"), "lacks the array 'state.centers'"),
        ("model", lose("params"), "lacks the array 'params'"),
        ("model", lose("loss_curve"), "lacks the array 'loss_curve'"),
        ("model", unsay("numbers", "loss_"), "the number loss_ is missing; expected a float"),
        ("model", unsay("numbers"), "has numbers=None in its header"),
        ("model", say("numbers", "n_features_in_", 5), "parameters have shapes .*its arguments give"),
        ("model", say("numbers", "n_steps_", -1), "the number n_steps_ is -1"),
        ("model", say("arguments", "hidden", [40, 10]), "parameters have shapes .*its arguments give"),
        ("model", say("arguments", "hidden", 3), "arguments that TensorizedAutoencoder cannot have: .*'hidden'"),
        ("model", say("arguments", "n_clusters", 10**18), "arguments that no model can have"),
        ("model", say("arguments", "assignment", "likelihood"), "lacks the array 'state.scatter'"),
        ("model", say("arguments", "epochs", None), "arguments that TensorizedAutoencoder cannot have: .*'epochs'"),
        (
            "model",
            say("arguments", "momentum", 0.5),
            "the argument 'momentum', which TensorizedAutoencoder does not have",
        ),
        ("model", say("shapes", "encoder.0.weight", [3, 4, -2]), "'encoder.0.weight' has the shape"),
        ("model", unsay("shapes"), "has shapes=None in its header"),
        ("model", unsay("class"), "has class=None in its header"),
        ("model", say("feature_names", ["a"]), "feature names that are not 4 strings"),
        ("machine", put("state.chains_hidden", 0, 0.5), "'state.chains_hidden' is not the chains' hidden units"),
        ("machine", swap("state.chains_hidden", lambda a: a[:, :-1]), "is not the chains' hidden units"),
        ("machine", swap("state.chains", lambda a: a[..., :-1]), r"'state.chains' has shape .*expected \(2, any, 6\)"),
        ("machine", lose("state.log_partition"), "lacks the array 'state.log_partition'"),
        ("machine", say("arguments", "n_hidden", 30), "parameters have shapes"),
    ],
)
def test_forged_entries_are_named(forge, name, change, message):
    with pytest.raises(ModelFileError, match=message):
        forge(name, change)()


def test_files_that_are_not_forged_are_read(forge):
    for name in ("model", "machine", "checkpoint"):
        forge(name, lambda header, arrays: None)()


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 100_000])
def test_a_header_that_is_not_json(tmp_path, text):
    (tmp_path / "model").write_bytes(safetensors.numpy.save({"a": np.ones(1)}, {"csrl_core": text}))
    with pytest.raises(ModelFileError, match="has a header that is not JSON"):
        csrl_core.load(tmp_path / "model")


@pytest.mark.parametrize("text", ["[]", "null", "3", '"model"'])
def test_a_header_that_is_not_an_object(tmp_path, text):
    (tmp_path / "model").write_bytes(safetensors.numpy.save({"a": np.ones(1)}, {"csrl_core": text}))
    with pytest.raises(ModelFileError, match="not an object"):
        csrl_core.load(tmp_path / "model")


def test_a_flipped_bit_is_noticed(files, tmp_path):
    whole = files["model"].read_bytes()
    length = int.from_bytes(whole[:8], "little")
    for at in range(8 + length, len(whole), 7):  # in the arrays, where only the checksum shows it
        data = bytearray(whole)
        data[at] ^= 1
        (tmp_path / "model").write_bytes(data)
        with pytest.raises(ModelFileError, match="damaged: its contents have another checksum"):
            csrl_core.load(tmp_path / "model")


def test_a_file_without_its_checksum_is_refused(files, tmp_path):
    header, arrays = parts(files["model"])
    del header["digest"]
    (tmp_path / "model").write_bytes(safetensors.numpy.save(arrays, {"csrl_core": json.dumps(header)}))
    with pytest.raises(ModelFileError, match="another checksum"):
        csrl_core.load(tmp_path / "model")


# -- files of the first format ---------------------------------------------------------------------------------


def test_models_of_the_first_format_are_read():
    model = csrl_core.load(HERE / "data" / "autoencoder-format-1.safetensors")
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    np.testing.assert_array_equal(np.bincount(model.labels_), [20, 20, 20])
    model.partial_fit(X)
    assert model.n_iter_ == 11
    machine = csrl_core.load(HERE / "data" / "rbm-format-1.safetensors")
    np.testing.assert_array_equal(machine.predict(B), machine.labels_)
    assert machine.params_.dtype == np.float32
    machine.partial_fit(B)


def test_checkpoints_of_the_first_format_are_resumed():
    path = HERE / "data" / "checkpoint-format-1.safetensors"
    resumed = autoencoder().fit(X, resume=path)
    assert resumed.n_iter_ == 4
    np.testing.assert_array_equal(np.bincount(resumed.labels_), [20, 20, 20])
    np.testing.assert_array_equal(resumed.labels_, resumed.predict(X))
    with pytest.raises(ModelFileError, match="made on other data"):
        autoencoder().fit(X[::-1], resume=path)


# -- files of the second format, written before modules moved into rooms -----------------------------------------


@pytest.mark.parametrize("name", ["autoencoder", "exact", "rbm", "rbm-likelihood"])
def test_models_of_the_second_format_are_read(name):
    model = csrl_core.load(HERE / "data" / f"{name}-format-2.safetensors")
    data = B if name.startswith("rbm") else X
    np.testing.assert_array_equal(model.predict(data), model.labels_)
    if name != "exact":
        before = model.n_iter_
        model.partial_fit(data)
        assert model.n_iter_ == before + 1


@pytest.mark.parametrize("name", ["autoencoder", "rbm"])
def test_checkpoints_of_the_second_format_are_resumed(name):
    """Saved after two of five epochs: the other three are those of an uninterrupted fit."""
    path = HERE / "data" / f"{name}-checkpoint-format-2.safetensors"
    common = {"n_clusters": 3, "random_state": 0, "epochs": 5}
    machine = {"n_hidden": 4, "batch_size": 20, "persistent": True, "n_chains": 5}
    estimator, data = (TensorizedRBM(**machine, **common), B) if name == "rbm" else (TensorizedAutoencoder(**common), X)
    whole = clone(estimator).fit(data)
    resumed = estimator.fit(data, resume=path)
    assert resumed.n_iter_ == 5
    np.testing.assert_array_equal(resumed.labels_, whole.labels_)
    np.testing.assert_allclose(resumed.loss_curve_, whole.loss_curve_, rtol=1e-4)


# -- many ------------------------------------------------------------------------------------------------------


def test_a_thousand_damaged_files(tmp_path):
    arguments = ["--count", "1000", "--seed", "11", "--keep", str(tmp_path / "kept")]
    process = subprocess.run(
        [sys.executable, HERE.parent / "bench" / "fuzz_files.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.count("refused") >= 5
