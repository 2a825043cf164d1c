"""``csrl fit --model vae``: options of networks and of images, and what a saved model is asked."""

import numpy as np
import pytest
from cli_helpers import error_of, run

import csrl_core


@pytest.fixture
def csrl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X = (np.random.default_rng(0).random((60, 36)) < np.repeat([[0.2], [0.8]], 30, axis=0)).astype(float)
    np.save("x.npy", X)
    return run


FIT = ["fit", "x.npy", "--model", "vae", "-k", "2", "--epochs", "2", "--seed", "0", "-o", "m", "--backend", "numpy"]


def test_a_convolutional_model_of_images(csrl):
    said = csrl(*FIT, "--architecture", "conv", "--channels", "2,3", "--image-shape", "6,6", "--embedding", "z.csv")
    assert "embedding  z.csv" in said.stdout
    model = csrl_core.load("m")
    assert (model.architecture, model.channels, model.image_shape) == ("conv", (2, 3), (6, 6))
    csrl("predict", "m", "x.npy", "--out", "labels.csv")
    assert len(np.loadtxt("labels.csv", skiprows=1, delimiter=",", ndmin=2)) == 60


def test_a_dense_model(csrl):
    csrl(
        *FIT, "--hidden", "5", "--shared", "0", "--latent", "1", "--reconstruction-loss", "mse", "--bound-samples", "3"
    )
    model = csrl_core.load("m")
    assert (model.hidden, model.shared, model.latent, model.reconstruction_loss) == ((5,), 0, 1, "mse")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--image-shape", "5,5"], 1, "X has 36 features; expected 25, those of image_shape=(1, 5, 5)"),
        (["--image-shape", "6x6"], 2, "--image-shape 6x6: expected integers"),
        (["--n-hidden", "3"], 2, "--n-hidden is an option of --model rbm, not of --model vae"),
    ],
)
def test_bad_input(csrl, words, code, message):
    assert message in error_of(csrl(*FIT, *words, code=code))
