"""Estimators are found by searching their folder: names, files, and the message for a name that exists already."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import csrl_core
from csrl_core import estimators

ROOT = Path(__file__).resolve().parents[2]


def test_every_estimator_is_found_and_public():
    known = {"ClusterSpecific", "InstanceDiscrimination", "TensorizedAutoencoder", "TensorizedRBM", "TensorizedVAE"}
    assert set(estimators.homes()) >= known
    for name in estimators.homes():
        assert name in csrl_core.__all__
        assert getattr(csrl_core, name) is estimators.get(name)
        assert estimators.get(name).__name__ == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("TensorizedRBM", "twin.py defines the estimator TensorizedRBM, which rbm.py in the same folder defines too"),
        ("ClusterModel", "twin.py defines ClusterModel, a name that csrl_core has already"),
    ],
)
def test_a_name_that_exists_is_refused(name, message, tmp_path):
    for folder in ("csrl_core", "kernels", "reference"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    text = (
        f"from csrl_core.estimators.base import BaseClusterSpecific\n\n\nclass {name}(BaseClusterSpecific):\n    pass\n"
    )
    (tmp_path / "csrl_core" / "estimators" / "twin.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", "import csrl_core"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert message in done.stderr
