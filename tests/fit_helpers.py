"""What tests of whole fits share."""

import numpy as np


def equal(one, other):
    """Assert that two fits have the same bits."""
    for name in ("labels_", "params_", "loss_curve_", "loss_", "cluster_centers_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.state_.keys() == other.state_.keys()
    for name, array in one.state_.items():
        np.testing.assert_array_equal(array, other.state_[name], err_msg=name)
