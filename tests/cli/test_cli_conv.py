"""``csrl fit --architecture conv``: convolutional autoencoders, and what a saved one is asked."""

import numpy as np
import pytest
from cli_helpers import error_of, run

import csrl_core


@pytest.fixture
def csrl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).normal(size=(60, 36)) + np.repeat([[0], [3]], 30, axis=0))
    return run


FIT = ["fit", "x.npy", "-k", "2", "--epochs", "2", "--seed", "0", "-o", "m", "--backend", "numpy"]


def test_a_convolutional_model_of_images(csrl):
    layers = ["--architecture", "conv", "--channels", "2,3", "--latent", "3", "--shared", "2", "--image-shape", "6,6"]
    said = csrl(*FIT, *layers, "--embedding", "z.csv")
    assert "embedding  z.csv" in said.stdout
    model = csrl_core.load("m")
    assert (model.architecture, model.channels, model.latent, model.shared) == ("conv", (2, 3), 3, 2)
    assert model.image_shape == (6, 6)
    assert model.n_steps_ == 4
    csrl("predict", "m", "x.npy", "--out", "labels.csv")
    assert len(np.loadtxt("labels.csv", skiprows=1, delimiter=",", ndmin=2)) == 60
    assert np.loadtxt("z.csv", skiprows=1, delimiter=",").shape == (60, 3)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--image-shape", "5,5"], 1, "X has 36 features; expected 25, those of image_shape=(1, 5, 5)"),
        (["--activation", "tanh"], 1, "activation='tanh' is not for architecture='conv'; expected 'linear'"),
        (["--batch-size", "many"], 2, "--batch-size many: expected an integer or auto"),
    ],
)
def test_bad_input(csrl, words, code, message):
    assert message in error_of(csrl(*FIT, "--architecture", "conv", *words, code=code))
