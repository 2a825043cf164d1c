"""``csrl fit --model contrastive``: options of networks and of augmentations, and labels."""

import numpy as np
import pytest
from cli_helpers import error_of, run

import csrl_core


@pytest.fixture
def csrl(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y = np.repeat([0, 1], 30)
    X = (np.random.default_rng(0).random((60, 36)) < np.where(y, 0.8, 0.2)[:, None]).astype(float)
    np.save("x.npy", X)
    header = ",".join([*(f"pixel{i}" for i in range(36)), "class"])
    np.savetxt("labelled.csv", np.column_stack([X, y]), delimiter=",", header=header, comments="", fmt="%g")
    return run


FIT = ["--model", "contrastive", "-k", "2", "--epochs", "2", "--seed", "0", "-o", "m", "--backend", "numpy"]


def test_a_convolutional_model_of_images(csrl):
    words = "--architecture", "conv", "--channels", "2,3", "--image-shape", "6,6", "--zoom", "0.2"
    csrl("fit", "x.npy", *FIT, *words, "--border", "replicated", "--latent", "4")
    model = csrl_core.load("m")
    assert (model.architecture, model.channels, model.image_shape) == ("conv", (2, 3), (6, 6))
    assert (model.zoom, model.border, model.latent) == (0.2, "replicated", 4)
    csrl("predict", "m", "x.npy", "--out", "labels.csv")
    assert len(np.loadtxt("labels.csv", skiprows=1, delimiter=",", ndmin=2)) == 60


def test_labels_of_the_file_are_used_when_wanted(csrl):
    csrl("fit", "labelled.csv", *FIT, "--hidden", "5", "--class-information", "--label-column", "class")
    assert csrl_core.load("m").class_information


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--image-shape", "5,5"], 1, "X has 36 features; expected 25, those of image_shape=(1, 5, 5)"),
        (["--class-information"], 1, "class_information=True needs y, the classes of the samples"),
    ],
)
def test_bad_input(csrl, words, code, message):
    assert message in error_of(csrl("fit", "x.npy", *FIT, *words, code=code))
