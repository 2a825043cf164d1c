"""Fixtures for tests of data sets; real data lie outside the project."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def data_folder():
    """The folder that CSRL_DATA names; the test is skipped where there is none."""
    folder = os.environ.get("CSRL_DATA")
    if not folder:
        pytest.skip("CSRL_DATA is not set: this test needs the real data sets (see csrl_core.datasets)")
    return Path(folder)


@pytest.fixture
def check_bunch():
    """Assert that a loaded data set is whole and has this shape and these class sizes."""

    def check(bunch, name, shape, counts):
        assert bunch.name == name
        assert bunch.data.shape == shape
        assert bunch.data.dtype == np.float64
        assert np.isfinite(bunch.data).all()
        assert bunch.target.dtype == np.int64
        assert np.bincount(bunch.target).tolist() == counts
        assert len(bunch.feature_names) == shape[1] == len(set(bunch.feature_names))
        assert len(bunch.target_names) == len(counts) == len(set(bunch.target_names))
        assert bunch.source
        assert bunch.licence

    return check
