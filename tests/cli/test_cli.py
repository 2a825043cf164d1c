"""The command line: what it writes and what it says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import IRIS, error_of, listing, run

import csrl_core
from csrl_core import TensorizedAutoencoder, datasets
from csrl_core.cli import data as cli_data
from csrl_core.cli import files as cli_files


@pytest.fixture
def csrl(tmp_path, monkeypatch):
    """Run a command inside an empty folder; asserts the exit code."""
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def model(csrl):
    csrl(*IRIS, "--out", "model")
    return csrl_core.load("model")


# ------------------------------------------------------------------------------------------ fit


def test_fit_writes_what_the_library_gives(csrl):
    result = csrl(*IRIS, "--out", "model", "--labels", "labels.csv", "--embedding", "z.npy", "--hidden", "3,1")
    X = datasets.load("iris").data
    arguments = {"n_clusters": 3, "random_state": 0, "epochs": 20, "backend": "numpy", "hidden": (3, 1)}
    expected = TensorizedAutoencoder(**arguments).fit(X)
    loaded = csrl_core.load("model")
    np.testing.assert_array_equal(loaded.params_, expected.params_)
    header, *labels = Path("labels.csv").read_text().split()
    assert header == "cluster"
    assert list(map(int, labels)) == expected.labels_.tolist()
    np.testing.assert_array_equal(np.load("z.npy"), expected.transform(X))
    for said in ("150 samples × 4 features", f"loss       {expected.loss_:.6g}", "ARI", "labels.csv", "z.npy"):
        assert said in result.stdout


def test_every_option_reaches_the_estimator(csrl):
    csrl(*IRIS, "--out", "model", "--hidden", "3,2", "--shared", "1", "--activation", "tanh", "--reg", "0.5",
         "--batch-size", "40", "--learning-rate", "0.002", "--n-init", "2", "--no-center", "--bias", "--tol", "1e-9",
         "--optimizer", "sgd", "--clip-norm", "3", "--output-activation", "sigmoid", "--jobs", "1")  # fmt: skip
    expected = {
        "n_clusters": 3, "hidden": (3, 2), "shared": 1, "activation": "tanh", "reg": 0.5, "batch_size": 40,
        "learning_rate": 0.002, "n_init": 2, "center": False, "bias": True, "tol": 1e-9, "optimizer": "sgd",
        "clip_norm": 3.0, "output_activation": "sigmoid", "n_jobs": 1, "epochs": 20, "random_state": 0,
    }  # fmt: skip
    found = csrl_core.load("model").get_params()
    assert {name: found[name] for name in expected} == expected


def test_files_of_all_kinds_give_the_same_model(csrl):
    X, y = datasets.make_triangle(60, random_state=3)
    np.save("x.npy", X)
    np.savez("x.npz", other=y, data=X)
    rows = ["a,b,c,kind,d,e", *(",".join([*map(repr, r[:3].tolist()), f"k{c}", *map(repr, r[3:].tolist())])
                                for r, c in zip(X, y))]  # fmt: skip
    Path("x.csv").write_text("\n".join(rows))
    common = ["--seed", "1", "--epochs", "5", "--backend", "numpy"]
    csrl("fit", "x.npy", "--out", "m1", *common)
    csrl("fit", "x.npz", "--key", "data", "--out", "m2", *common)
    said = csrl("fit", "x.csv", "--label-column", "kind", "--out", "m3", *common).stdout
    assert "ARI" in said
    first, second, third = (csrl_core.load(name).params_ for name in ("m1", "m2", "m3"))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_a_likely_column_of_labels_is_pointed_out(csrl):
    Path("x.csv").write_text("a,b,Label\n1,2,0\n2,1,0\n5,6,1\n6,5,1\n")
    common = ["fit", "x.csv", "--out", "m", "--epochs", "1", "--backend", "numpy"]
    assert "column 'Label' of x.csv is used as a feature" in csrl(*common).stdout
    assert csrl_core.load("m").n_features_in_ == 3
    assert "note" not in csrl(*common, "--label-column", "none").stdout
    csrl(*common, "--label-column", "Label")
    assert csrl_core.load("m").n_features_in_ == 2


def test_target_is_what_is_reconstructed(csrl):
    X, _ = datasets.make_triangle(40, random_state=0)
    noisy = X + np.random.default_rng(0).normal(0, 0.1, X.shape)
    np.save("noisy.npy", noisy)
    np.save("clean.npy", X)
    csrl("fit", "noisy.npy", "--target", "clean.npy", "--seed", "0", "--epochs", "5", "--backend", "numpy", "-o", "m")
    expected = TensorizedAutoencoder(epochs=5, random_state=0, backend="numpy").fit(noisy, target=X)
    np.testing.assert_array_equal(csrl_core.load("m").params_, expected.params_)
    np.save("short.npy", X[:-1])
    said = error_of(csrl("fit", "noisy.npy", "--target", "short.npy", "--backend", "numpy", "-o", "m", code=1))
    assert "target has shape (39, 5); expected that of X, (40, 5)" in said


def test_a_fit_that_diverges_saves_the_last_finite_parameters(csrl):
    X = datasets.load("iris").data
    result = csrl(*IRIS, "--out", "model", "--optimizer", "sgd", "--learning-rate", "50", "--reg", "0", code=1)
    assert "Try a smaller learning_rate" in error_of(result)
    assert "the fit diverged: the parameters after epoch" in result.stdout
    kept = csrl_core.load("model")
    assert np.isfinite(kept.params_).all()
    assert np.isfinite(kept.loss_)
    with np.errstate(over="ignore"):  # finite is all that is promised: a sample under a foreign cluster may overflow
        assert kept.predict(X).shape == (150,)


def test_plain_lines_where_there_is_no_terminal(csrl):
    result = csrl(*IRIS, "--out", "model")
    lines = [line for line in result.stderr.splitlines() if line]
    assert lines[-2].startswith("restart 1, epoch 20/20, loss ")
    assert lines[-1].startswith("warning: training stopped at epochs=20 before it had converged")
    assert "\x1b" not in result.output
    assert "\r" not in result.output


# ---------------------------------------------------------------------------- predict, transform


@pytest.mark.parametrize("suffix", ["csv", "npy"])
@pytest.mark.parametrize(("options", "method"), [(["predict"], "predict"), (["transform"], "transform"),
                                                 (["transform", "--all"], "transform_all")])  # fmt: skip
def test_answers_are_those_of_the_library(csrl, model, options, method, suffix):
    X = datasets.load("iris").data
    expected = getattr(model, method)(X)
    csrl(options[0], "model", "data:iris", "--out", f"a.{suffix}", *options[1:])
    if suffix == "npy":
        found = np.load("a.npy")
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    else:
        found, columns = datasets.read_table("a.csv")
        found = found.reshape(expected.shape)
        assert len(set(columns)) == expected.size / len(expected)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_an_array_on_disk_is_answered_in_chunks(csrl, model, dtype, monkeypatch):
    X = np.random.default_rng(0).normal(3, 2, (20000, 4)).astype(dtype)
    np.save("x.npy", X)
    sizes = []
    predict = TensorizedAutoencoder.predict
    monkeypatch.setattr(TensorizedAutoencoder, "predict", lambda self, X: sizes.append(len(X)) or predict(self, X))
    csrl("predict", "model", "x.npy", "--out", "labels.npy")
    assert len(sizes) == 3
    assert max(sizes) == 8192
    assert isinstance(cli_data.read_data("x.npy", memory_map=True).X, np.memmap)
    np.testing.assert_array_equal(np.load("labels.npy"), predict(model, X))


def test_single_precision_survives_a_csv_file(csrl, tmp_path):
    Z = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    cli_files.write_table("z.csv", iter([Z[:30], Z[30:]]), 50, "z")
    found, columns = datasets.read_table("z.csv")
    assert columns == ["z0", "z1"]
    np.testing.assert_array_equal(found.astype(np.float32), Z)


# ------------------------------------------------------------------------- the other commands


@pytest.mark.parametrize("kind", ["embedding", "loss", "reconstruction"])
def test_plot_writes_a_picture(csrl, model, kind):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    data = [] if kind == "loss" else ["data:iris"]
    csrl("plot", "model", *data, "--out", "a.png", "--kind", kind)
    assert Path("a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    csrl("plot", "model", *data, "--out", "a.svg", "--kind", kind)
    assert "<svg" in Path("a.svg").read_text()


def test_doctor_reports_and_changes_nothing(csrl, monkeypatch):
    monkeypatch.setenv("CSRL_DATA", "nowhere")
    result = csrl("doctor", code=1)
    for word in ("python", "csrl_core", "numpy", "numba", "cupy", "cores", "OMP_NUM_THREADS", "openblas", "JIT cache",
                 "writable", "nowhere is no folder", "no files", "built in"):  # fmt: skip
        assert word in result.stdout, word
    assert listing() == []


def test_verify_fails_when_a_backend_disagrees(csrl, monkeypatch):
    result = csrl("verify", "--backend", "numpy", "--stem", "assign", "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["stem"] for row in found} == {"assign"}
    assert all(row["ok"] for row in found)
    assert "assign." in csrl("verify", "--backend", "numpy", "--stem", "assign").stdout
    from dataclasses import replace

    from csrl_core.contract import verify

    check = verify.check
    monkeypatch.setattr(verify, "check", lambda *args: replace(check(*args), ok=False))
    csrl("verify", "--backend", "numpy", "--stem", "assign", code=1)
    assert "--stem nonsense is unknown" in error_of(csrl("verify", "--stem", "nonsense", code=1))


def test_debug_shows_the_traceback_wherever_it_stands(csrl):
    with pytest.raises(ValueError, match="shared=5"):
        csrl(*IRIS, "--out", "m", "--shared", "5", "--debug")
    with pytest.raises(ValueError, match="shared=5"):
        csrl("--debug", *IRIS, "--out", "m", "--shared", "5")
    csrl(*IRIS, "--out", "m", "--shared", "5", code=1)


def test_wrong_usage_and_help(csrl):
    for args in (["fit"], ["fit", "x.csv"], ["nonsense"], ["fit", "data:iris", "--out", "m", "--backend", "gpu"]):
        csrl(*args, code=2)
    said = " ".join(csrl("--help").stdout.split())
    for code in ("0 done", "1 failed", "2 wrong usage", "130 interrupted"):
        assert code in said
    assert csrl("--version").stdout == f"csrl_core {csrl_core.__version__}\n"
    for command in ("demo", "fit", "predict", "transform", "plot", "doctor", "verify"):
        csrl(command, "--help")
        assert command in said


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["doctor", "--help"], ["predict", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    done = run_python(
        f"import sys; sys.argv = {['csrl', *arguments]!r}\n"
        "from csrl_core.cli import main\n"
        "try: main()\n"
        "finally: print({'numpy', 'scipy', 'sklearn', 'numba', 'safetensors', 'matplotlib'} & set(sys.modules))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
    assert {"--help": "Commands", "--version": "csrl_core"}.get(arguments[0], "Options") in done.stdout


def test_without_typer_it_says_what_to_install():
    done = run_python("import sys; sys.modules['typer'] = None\nfrom csrl_core.cli import main\nmain()")
    assert done.returncode == 1
    assert done.stderr == (
        "error: the command line needs typer, which is not installed; pip install 'csrl_core[cli]'\n"
    )
