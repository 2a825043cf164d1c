"""Boltzmann machines from the command line: fit, answers, pictures, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import error_of, listing, run

import csrl_core
from csrl_core import TensorizedAutoencoder, TensorizedRBM
from csrl_core.plotting import FilterAnimation

D = 9
ARGUMENTS = {"n_hidden": 4, "epochs": 3, "batch_size": 20, "ais_chains": 5, "ais_betas": 6, "learning_rate": 0.05}
OPTIONS = ["--n-hidden", "4", "--epochs", "3", "--batch-size", "20", "--ais-chains", "5", "--ais-betas", "6",
           "--learning-rate", "0.05", "--seed", "0", "--backend", "numpy"]  # fmt: skip
FIT = ["fit", "x.npy", "--model", "rbm", *OPTIONS]


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return (rng.random((60, D)) < np.repeat([[0.1], [0.9]], 30, axis=0)).astype(np.float64)


@pytest.fixture
def csrl(tmp_path, monkeypatch, X):
    """Run a command inside a folder that holds only x.npy; asserts the exit code."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    return run


def expected(X, **changes):
    return TensorizedRBM(**ARGUMENTS | {"random_state": 0, "backend": "numpy"} | changes).fit(X)


# --------------------------------------------------------------------------------------------------- fit


def test_fit_writes_what_the_library_gives(csrl, X):
    result = csrl(*FIT, "--out", "model", "--labels", "labels.csv", "--embedding", "z.npy")
    model, loaded = expected(X), csrl_core.load("model")
    assert type(loaded) is TensorizedRBM
    np.testing.assert_array_equal(loaded.params_, model.params_)
    np.testing.assert_array_equal(loaded.log_partition_, model.log_partition_)
    assert list(map(int, Path("labels.csv").read_text().split()[1:])) == model.labels_.tolist()
    np.testing.assert_array_equal(np.load("z.npy"), model.transform(X))
    assert f"likelihood mean log p {model.score(X):.6g}; " in result.stdout
    assert f"pseudo     mean log pseudo-likelihood {np.mean(model.pseudo_likelihood(X)):.6g}" in result.stdout


def test_every_option_reaches_the_estimator(csrl):
    csrl(*FIT, "--out", "m", "-k", "3", "--visible", "gaussian", "--gibbs-steps", "2", "--persistent", "--n-chains",
         "7", "--optimizer", "sgd", "--momentum", "0.5", "--weight-decay", "0.01", "--standing-epochs", "0",
         "--assignment", "cd", "--no-center", "--ais-every", "2", "--batch-size", "0", "--clip-norm", "2",
         "--n-init", "2", "--init", "random", "--learning-rate-schedule", "cosine",
         "--tol", "1e-9", "--jobs", "1", "--learning-rate", "0.001")  # fmt: skip
    wanted = {
        "n_clusters": 3, "visible": "gaussian", "gibbs_steps": 2, "persistent": True, "n_chains": 7, "optimizer": "sgd",
        "momentum": 0.5, "weight_decay": 0.01, "standing_epochs": 0, "assignment": "cd", "center": False,
        "ais_every": 2, "batch_size": None, "clip_norm": 2.0, "n_init": 2, "init": "random", "tol": 1e-9, "n_jobs": 1,
        "n_hidden": 4, "epochs": 3, "ais_chains": 5, "ais_betas": 6, "learning_rate": 0.001, "random_state": 0,
        "learning_rate_schedule": "cosine",
    }  # fmt: skip
    found = csrl_core.load("m").get_params()
    assert {name: found[name] for name in wanted} == wanted
    others = ["--update", "step-then-assign", "--center-update", "running", "--n-iter-no-change", "4", "--verbose", "1"]
    csrl(*FIT, "--out", "m", *others)
    rest = {"update": "step-then-assign", "center_update": "running", "n_iter_no_change": 4, "verbose": 1}
    rest |= {"backend": "numpy"}
    found = csrl_core.load("m").get_params()
    assert {name: found[name] for name in rest} == rest
    assert set(found) == set(wanted) | set(rest)


def test_what_is_not_given_is_the_estimators_own(csrl):
    csrl("fit", "x.npy", "--model", "rbm", "--epochs", "1", "--ais-betas", "3", "-o", "m", "--backend", "numpy")
    found = csrl_core.load("m").get_params()
    changed = {name: value for name, value in found.items() if value != TensorizedRBM().get_params()[name]}
    assert changed == {"epochs": 1, "ais_betas": 3, "backend": "numpy"}
    csrl("fit", "x.npy", "--epochs", "1", "-o", "t", "--backend", "numpy")
    found = csrl_core.load("t").get_params()
    changed = {name: value for name, value in found.items() if value != TensorizedAutoencoder().get_params()[name]}
    assert changed == {"epochs": 1, "backend": "numpy"}


def test_one_machine_has_no_log_z_yet(csrl):
    said = csrl(*FIT, "-k", "1", "--out", "model").stdout
    assert "log p " not in said
    assert "pseudo     mean log pseudo-likelihood -" in said
    assert "n_estimates" not in csrl_core.load("model").state_


def test_resume_gives_the_same_curve(csrl, X):
    csrl(*FIT, "--out", "model", "--checkpoint", "state", "--checkpoint-every", "1")
    csrl(*FIT, "--epochs", "6", "--out", "model", "--checkpoint", "state", "--resume", "state")
    resumed, whole = csrl_core.load("model"), expected(X, epochs=6)
    assert resumed.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(resumed.params_, whole.params_)
    said = error_of(csrl("fit", "x.npy", "--backend", "numpy", "--out", "m", "--resume", "state", code=1))
    assert "state is a checkpoint of TensorizedRBM; expected TensorizedAutoencoder" in said


def test_the_animation(csrl, X):
    assert "filters    f.gif" in csrl(*FIT, "--out", "model", "--filters-gif", "f.gif", "--image-shape", "3,3").stdout
    expected(X).set_callbacks(FilterAnimation("g.gif", (3, 3))).fit(X)
    assert Path("f.gif").read_bytes() == Path("g.gif").read_bytes()
    csrl(*FIT, "--out", "model", "--filters-gif", "h.gif")  # nine features are a square
    assert Path("h.gif").read_bytes() == Path("g.gif").read_bytes()


def test_ctrl_c_leaves_model_and_animation(csrl, monkeypatch):
    end_of_epoch = FilterAnimation.on_epoch_end

    def interrupt(self, estimator, epoch):
        end_of_epoch(self, estimator, epoch)
        if epoch.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(FilterAnimation, "on_epoch_end", interrupt)
    said = csrl(*FIT, "--out", "model", "--filters-gif", "f.gif", code=130).stdout
    assert "interrupted: the parameters after epoch 2 " in said
    assert "filters    f.gif" in said
    assert csrl_core.load("model").n_iter_ == 2
    assert listing() == ["f.gif", "model", "x.npy"]


# ----------------------------------------------------------------------------------- answers and pictures


@pytest.mark.parametrize(("options", "method"), [(["predict"], "predict"), (["transform"], "transform"),
                                                 (["transform", "--all"], "transform_all")])  # fmt: skip
def test_answers(csrl, X, options, method):
    csrl(*FIT, "--out", "model")
    csrl(options[0], "model", "x.npy", "--out", "a.npy", *options[1:])
    np.testing.assert_array_equal(np.load("a.npy"), getattr(expected(X), method)(X))


def test_bytes_are_divided_everywhere(csrl, X):
    np.save("bytes.npy", (200 * X).astype(np.uint8))
    scale = ["--divide-by", "200"]
    csrl("fit", "bytes.npy", "--model", "rbm", *OPTIONS, *scale, "--out", "model", "--embedding", "z.npy")
    model = expected(X)
    np.testing.assert_array_equal(csrl_core.load("model").params_, model.params_)
    np.testing.assert_array_equal(np.load("z.npy"), model.transform(X))
    csrl("transform", "model", "bytes.npy", "--out", "a.npy", *scale)
    np.testing.assert_array_equal(np.load("a.npy"), model.transform(X))
    np.savetxt("bytes.csv", 200 * X, delimiter=",")
    csrl("predict", "model", "bytes.csv", "--out", "p.npy", *scale)
    np.testing.assert_array_equal(np.load("p.npy"), model.predict(X))
    csrl("predict", "model", "bytes.npy", "--out", "p.npy")  # the model knows
    np.testing.assert_array_equal(np.load("p.npy"), model.predict(X))
    said = error_of(csrl("predict", "model", "bytes.npy", "--out", "b.npy", "--divide-by", "255", code=2))
    assert said == "error: --divide-by 255: model itself divides by 200; leave the option out"
    for wrong in ("0", "-1", "nan", "inf"):
        said = error_of(csrl("predict", "model", "bytes.npy", "--out", "b.npy", "--divide-by", wrong, code=2))
        assert said == f"error: --divide-by {wrong}: expected a positive number"
    assert "b.npy" not in listing()


@pytest.mark.parametrize(
    "options",
    [["--kind", "filters"], ["--kind", "samples", "--images", "3"], ["x.npy", "--kind", "samples"],
     ["x.npy", "--kind", "reconstruction", "--image-shape", "3,3"], ["x.npy"], ["--kind", "loss"]],
    ids=" ".join,
)  # fmt: skip
def test_plot(csrl, options):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    csrl(*FIT, "--out", "model")
    csrl("plot", "model", *options, "--out", "a.png")
    assert Path("a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--hidden", "3"],
            2,
            "not of --model rbm (csrl fit --help)",
        ),
        (["--shared", "0"], 2, "--shared is an option of --model autoencoder"),
        (["--bias"], 2, "--bias is an option of --model autoencoder"),
        (["--solver", "exact"], 2, "--solver is an option of --model autoencoder"),
        (["--output-activation", "relu"], 2, "--output-activation is an option of --model autoencoder"),
        (["--target", "x.npy"], 2, "--target is an option of --model autoencoder"),
        (["--assignment", "loss"], 2, "--assignment loss: expected cd or likelihood"),
        (["--momentum", "0.9"], 1, "momentum=0.9 needs optimizer='sgd', got 'adam'"),
        (["--filters-gif", "f.png"], 2, "--filters-gif f.png: the suffix is '.png', expected .gif"),
        (["--filters-gif", "f.gif", "--image-shape", "2,2"], 1, "image_shape=(2, 2); expected (height, width)"),
        (["--filters-gif", "f.gif", "--image-shape", "3x3"], 2, "--image-shape 3x3: expected integers"),
        (["--filters-gif", "no/f.gif"], 1, "the folder no does not exist"),
        (["--divide-by", "0"], 2, "--divide-by 0: expected a positive number"),
        (["-k", "61"], 1, "n_samples=60 should be >= n_clusters=61"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_of_fit(csrl, arguments, code, message):
    assert message in error_of(csrl(*FIT, "--out", "m", *arguments, code=code))
    assert listing() == ["x.npy"]


@pytest.mark.parametrize("arguments", [["--n-hidden", "3"], ["--persistent"], ["--visible", "gaussian"],
                                       ["--filters-gif", "f.gif"]])  # fmt: skip
def test_an_autoencoder_has_no_such_option(csrl, arguments):
    said = error_of(csrl("fit", "x.npy", "--out", "m", *arguments, code=2))
    assert said.startswith(f"error: {arguments[0]} is an option of --model rbm, not of --model autoencoder")
    assert listing() == ["x.npy"]


def test_values_that_no_probability_has(csrl, X):
    np.save("y.npy", 255 * X)
    said = error_of(csrl("fit", "y.npy", "--model", "rbm", "--backend", "numpy", "--out", "m", code=1))
    assert said == (
        "error: y.npy has values from 0 to 255; binary units need them in [0, 1]: --divide-by divides them "
        "(255 for bytes), --visible gaussian is for scaled data, --scale minmax scales columns"
    )
    X[0, 0] = np.nan
    np.save("y.npy", X)
    assert "y.npy: row 1, column 'x0' is nan" in error_of(csrl("fit", "y.npy", "--model", "rbm", "-o", "m", code=1))


def test_bad_arguments_of_plot(csrl, X):
    csrl(*FIT, "--out", "model")
    csrl("fit", "x.npy", "--epochs", "1", "--backend", "numpy", "--out", "tae")
    plot = ["plot", "model", "--out", "a.png"]
    assert "--kind embedding needs DATA" in error_of(csrl(*plot, code=2))
    assert "image_shape=(3,); expected (height, width)" in error_of(
        csrl(*plot, "--kind", "filters", "--image-shape", "3", code=1)
    )
    foreign = ["plot", "tae", "--out", "a.png", "--kind"]
    said = error_of(csrl(*foreign, "filters", code=2))
    assert said == "error: --kind filters is for Boltzmann machines; tae is a TensorizedAutoencoder"
    assert "--kind samples needs DATA" in error_of(csrl(*foreign, "samples", code=2))
    csrl(*foreign, "samples", "x.npy")
    np.save("x.npy", X[:, :7])
    csrl(*FIT, "--out", "model")
    said = error_of(csrl(*plot, "--kind", "samples", code=2))
    assert said == "error: --image-shape is needed: 7 features make no square image"


def test_the_help_tells_the_models_options_apart(csrl):
    said = re.sub(r"[│╭╮╰╯─]", " ", csrl("fit", "--help").stdout)
    ours, _, _ = said.partition("Of --model rbm")
    assert "Of --model autoencoder" in ours
    assert "--shared" in ours
    assert "--gibbs-steps" not in ours
