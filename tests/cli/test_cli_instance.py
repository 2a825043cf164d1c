"""``csrl fit --model instance`` and ``contrastive_instance``: options, a background's file, resuming."""

import numpy as np
import pytest
from cli_helpers import error_of, run

import csrl_core


@pytest.fixture
def csrl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    np.save("x.npy", random.random((60, 36)))
    np.save("y.npy", random.random((40, 36)))
    np.save("narrow.npy", random.random((40, 35)))
    return run


SHORT = ["-k", "2", "--epochs", "2", "--seed", "0", "-o", "m", "--backend", "numpy"]
FIT = ["fit", "x.npy", "--model", "instance", *SHORT]
AGAINST = ["fit", "x.npy", "--model", "contrastive_instance", *SHORT, "--hidden", "5", "--latent", "3"]


def test_images_and_a_schedule(csrl):
    csrl(
        *FIT, "--architecture", "conv", "--channels", "2,3", "--image-shape", "6,6", "--latent", "4",
        "--learning-rate-schedule", "constant", "--temperature", "0.5", "--shift", "1", "--embedding", "z.csv",
    )  # fmt: skip
    model = csrl_core.load("m")
    assert (model.architecture, model.channels, model.image_shape, model.latent) == ("conv", (2, 3), (6, 6), 4)
    assert (model.learning_rate_schedule, model.temperature, model.shift) == ("constant", 0.5, 1.0)
    csrl("predict", "m", "x.npy", "--out", "labels.csv")
    labels = np.loadtxt("labels.csv", skiprows=1, delimiter=",", ndmin=2)[:, -1]
    np.testing.assert_array_equal(labels, model.labels_)
    assert np.loadtxt("z.csv", skiprows=1, delimiter=",").shape[0] == 60


def test_a_background(csrl):
    csrl(*AGAINST, "--background", "y.npy", "--background-temperature", "0.2", "--checkpoint", "c")
    model = csrl_core.load("m")
    assert model.background_temperature == 0.2
    assert model.state_["background"].shape == (60, 3)
    said = csrl(*AGAINST, "--background", "y.npy", "--background-temperature", "0.2", "--resume", "c")
    assert "2 epochs" in said.stdout
    np.testing.assert_array_equal(csrl_core.load("m").params_, model.params_)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([*AGAINST, "--background", "narrow.npy"], 1, "narrow.npy has 35 features"),
        ([*FIT, "--background", "y.npy"], 2, "--background is an option of --model contrastive_instance"),
        ([*FIT, "--target", "y.npy"], 2, "--target is an option of --model"),
        ([*FIT, "--temperature", "0"], 1, "temperature"),
        ([*FIT, "--image-shape", "5,5"], 1, "X has 36 features; expected 25, those of image_shape=(1, 5, 5)"),
    ],
)
def test_bad_input(csrl, words, code, message):
    assert message in error_of(csrl(*words, code=code))
