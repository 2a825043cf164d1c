"""Models and checkpoints on disk: round trips, refused files, and files after a kill."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import csrl_core
from csrl_core import ClusterSpecific, TensorizedAutoencoder, callbacks, datasets
from csrl_core.estimators import saved
from csrl_core.training import persistence
from csrl_core.training.file_checks import digest_of
from csrl_core.training.persistence import ModelFileError

X, Y = datasets.make_lines_3d(random_state=0)


def make(**changes):
    return TensorizedAutoencoder(**{"n_clusters": 3, "epochs": 12, "batch_size": 64, "random_state": 0} | changes)


def same(a, b):
    np.testing.assert_array_equal(a.params_, b.params_)
    np.testing.assert_array_equal(a.labels_, b.labels_)
    assert a.loss_curve_ == b.loss_curve_
    assert a.loss_ == b.loss_


@pytest.mark.parametrize("changes", [{}, {"init": Y, "hidden": [3, 2], "bias": True}, {"n_clusters": np.int64(2)}])
def test_a_loaded_model_is_the_same_and_continues(tmp_path, changes):
    model = make(**changes).fit(X)
    model.save(tmp_path / "model")
    back = csrl_core.load(tmp_path / "model")
    same(back, model)
    assert type(back) is TensorizedAutoencoder
    for name, value in model.get_params().items():
        assert np.array_equal(back.get_params()[name], value), name
    np.testing.assert_array_equal(back.predict(X), model.labels_)
    np.testing.assert_array_equal(back.transform(X), model.transform(X))
    np.testing.assert_array_equal(back.cluster_centers_, model.cluster_centers_)
    for twin in (back, model):
        twin.partial_fit(X[:40])
    np.testing.assert_array_equal(back.params_, model.params_)


def test_feature_names_are_loaded(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    model = make(epochs=1).fit(frame)
    model.save(tmp_path / "model")
    assert csrl_core.load(tmp_path / "model").feature_names_in_.tolist() == list("abcdef")


def test_a_models_backend_can_be_changed(tmp_path):
    make(backend="numba").fit(X).save(tmp_path / "model")
    assert csrl_core.load(tmp_path / "model", backend="numpy").backend == "numpy"


def test_a_users_model_is_loaded_with_its_class(tmp_path):
    from test_algorithm import Lines

    model = ClusterSpecific(Lines(), n_clusters=3, epochs=3, random_state=0).fit(X)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"pass its model: load\(path, model=YourModel\(\)\)"):
        csrl_core.load(tmp_path / "model")
    same(csrl_core.load(tmp_path / "model", model=Lines()), model)


# -- refused -------------------------------------------------------------------------------------------


def test_a_truncated_file_is_refused(tmp_path):
    make().fit(X).save(tmp_path / "model")
    whole = (tmp_path / "model").read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match=r"cut is not a whole safetensors file.*expected a model"):
            csrl_core.load(tmp_path / "cut")


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "other"
    path.write_bytes(safetensors.numpy.save({"weight": np.ones(3)}))
    with pytest.raises(ModelFileError, match=r"other is a safetensors file of another program"):
        csrl_core.load(path)
    path.write_text("a,b\n1,2\n" * 99)
    with pytest.raises(ModelFileError, match="not a whole safetensors file"):
        csrl_core.load(path)
    with pytest.raises(FileNotFoundError, match="no such model file"):
        csrl_core.load(tmp_path / "missing")


def rewrite(path, **changes):
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["csrl_core"])
    arrays, header = safetensors.numpy.load_file(path), header | changes
    header["digest"] = digest_of({name: header[name] for name in header if name != "digest"}, arrays)
    path.write_bytes(safetensors.numpy.save(arrays, {"csrl_core": json.dumps(header)}))


def test_other_versions_kinds_and_classes_are_refused(tmp_path):
    path = tmp_path / "model"
    make(epochs=1).fit(X).save(path)
    rewrite(path, format=99)
    with pytest.raises(ModelFileError, match=r"format version 99; this csrl_core .* reads versions 1 to 2"):
        csrl_core.load(path)
    rewrite(path, format=2, **{"class": "os.system"})
    with pytest.raises(ModelFileError, match=r"holds a 'os\.system'; expected one of"):
        csrl_core.load(path)
    rewrite(path, **{"class": "TensorizedGAN", "version": "9.1"})
    with pytest.raises(ModelFileError, match=r"holds a 'TensorizedGAN'; .* It was written by csrl_core 9\.1"):
        csrl_core.load(path)
    rewrite(path, **{"class": "TensorizedAutoencoder"})
    with safetensors.safe_open(path, framework="numpy") as file:
        arguments = json.loads(file.metadata()["csrl_core"])["arguments"]
    for change, message in (
        ({"optimizer": "lion"}, r"cannot have: .*'lion'.*; it was written by csrl_core 9\.1"),
        ({"dropout": 0.5}, r"the argument 'dropout', which .* does not have; it was written by csrl_core 9\.1"),
    ):
        rewrite(path, arguments=arguments | change)
        with pytest.raises(ModelFileError, match=message):
            csrl_core.load(path)
    rewrite(path, arguments=arguments)
    with pytest.raises(ModelFileError, match="is a model; expected a checkpoint"):
        make().fit(X, resume=path)


# -- atomic ----------------------------------------------------------------------------------------------


def test_an_unwritable_folder_is_named_and_the_model_stays(tmp_path):
    model = make(epochs=1).fit(X)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        model.save(tmp_path / "nowhere" / "model")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        model.save(tmp_path / "file" / "model")
    assert model.predict(X).shape == (300,)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    model = make(epochs=1).fit(X)
    model.save(tmp_path / "model")
    old = (tmp_path / "model").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        make(epochs=2).fit(X).save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_process_killed_while_saving_leaves_the_old_file(tmp_path):
    path = tmp_path / "model"
    make(epochs=1).fit(X).save(path)
    old = path.read_bytes()
    code = textwrap.dedent(f"""
        import os, signal
        from csrl_core.training import atomic_files
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        atomic_files.write_atomically({str(path)!r}, b"half a model")
    """)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert path.read_bytes() == old
    np.testing.assert_array_equal(csrl_core.load(path).predict(X), make(epochs=1).fit(X).labels_)


def test_a_saved_file_has_ordinary_permissions(tmp_path):
    make(epochs=1).fit(X).save(tmp_path / "model")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


# -- resume ------------------------------------------------------------------------------------------------


class StopAt(callbacks.LossHistory):
    """Raises KeyboardInterrupt at the end of an epoch."""

    def __init__(self, restart, epoch, error=KeyboardInterrupt):
        super().__init__()
        self.at, self.error = (restart, epoch), error

    def on_epoch_end(self, estimator, epoch):
        if (epoch.restart, epoch.epoch) == self.at:
            raise self.error
        return super().on_epoch_end(estimator, epoch)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("batch_size", [None, 64])
@pytest.mark.parametrize("at", [(0, 4), (1, 0), (1, 7)])
def test_an_interrupted_fit_resumes_to_the_same_curve(tmp_path, backend, batch_size, at):
    arguments = {"backend": backend, "batch_size": batch_size, "n_init": 3, "init": "random", "tol": 1e-9}
    whole = make(**arguments).fit(X)
    stopped = make(**arguments).set_callbacks(callbacks.Checkpoint(tmp_path / "checkpoint"), StopAt(*at))
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(X)
    assert stopped.n_iter_ > 0
    assert stopped.predict(X).shape == (300,)
    resumed = make(
        **arguments,
    ).fit(X, resume=tmp_path / "checkpoint")
    same(resumed, whole)
    assert resumed.n_reseeded_ == whole.n_reseeded_


def test_more_epochs_continue_a_finished_checkpoint(tmp_path):
    make(epochs=5).set_callbacks(callbacks.Checkpoint(tmp_path / "c", every=3)).fit(X)
    resumed = make(epochs=12).fit(X, resume=tmp_path / "c")
    same(resumed, make(epochs=12).fit(X))


def test_a_killed_fit_resumes_to_the_same_curve(tmp_path):
    code = textwrap.dedent(f"""
        import os, signal
        from csrl_core import TensorizedAutoencoder, callbacks, datasets
        class Kill(callbacks.LossHistory):
            def on_epoch_end(self, estimator, epoch):
                if epoch.epoch == 6:
                    os.kill(os.getpid(), signal.SIGKILL)
        X, _ = datasets.make_lines_3d(random_state=0)
        model = TensorizedAutoencoder(n_clusters=3, epochs=12, batch_size=64, random_state=0)
        model.set_callbacks(callbacks.Checkpoint({str(tmp_path / "c")!r}, every=2), Kill()).fit(X)
    """)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    same(make().fit(X, resume=tmp_path / "c"), make().fit(X))


def test_a_checkpoint_of_other_arguments_or_data_is_refused(tmp_path):
    path = tmp_path / "c"
    make(epochs=2).set_callbacks(callbacks.Checkpoint(path)).fit(X)
    with pytest.raises(ModelFileError, match=r"made with learning_rate=0.01, the estimator has learning_rate=0.5"):
        make(learning_rate=0.5).fit(X, resume=path)
    with pytest.raises(ModelFileError, match="another init"):
        make(init=Y).fit(X, resume=path)
    with pytest.raises(ModelFileError, match=r"X of shape \(300, 6\).*X has \(299, 6\)"):
        make().fit(X[:299], resume=path)
    for data in (X[::-1], X + 1e-9, X.astype(np.float32).astype(np.float64)):
        with pytest.raises(ModelFileError, match="made on another X than is given"):
            make().fit(data, resume=path)
    with pytest.raises(ModelFileError, match="made on another target than"):
        make().fit(X, target=X + 1, resume=path)
    with pytest.raises(ModelFileError, match="made on another sample_weight than"):
        make().fit(X, sample_weight=np.arange(300.0), resume=path)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        make().fit(X, resume=tmp_path / "none")


def test_nothing_of_a_file_is_executed():
    source = "".join(Path(module.__file__).read_text() for module in (persistence, saved))
    assert "pickle" not in source
    assert "eval(" not in source
