"""Cluster-specific representation learning without a deep-learning framework.

Importing the package loads nothing heavy: every public name is found in the table below on first
use (PEP 562), so ``import csrl_core`` costs milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from csrl_core import estimators
from csrl_core._version import __version__

_HOME = {
    "BatchModel": "models.base",
    "ClusterModel": "models.base",
    "load": "estimators.saved",
    "NonFiniteLossError": "training.loop",
    "BackendError": "backends",
    **dict.fromkeys(["backend", "backends", "callbacks", "contract", "datasets", "divergence"]),
    **dict.fromkeys(["metrics", "mismatch", "plotting", "reproduce", "selection", "verify"]),
}
for _name, _file in estimators.homes().items():
    if _name in _HOME:
        raise ImportError(f"csrl_core/estimators/{_file}.py defines {_name}, a name that csrl_core has already")
    _HOME[_name] = f"estimators.{_file}"

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'csrl_core' has no attribute {name!r}")
    home = _HOME[name]
    module = import_module(f"csrl_core.{home or name}")
    value = module if home is None else getattr(module, name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *_HOME])


if TYPE_CHECKING:
    from csrl_core import backends as backend
    from csrl_core import callbacks, contract, datasets, divergence, metrics, mismatch, plotting, selection, verify
    from csrl_core.backends import BackendError
    from csrl_core.estimators.autoencoder import TensorizedAutoencoder
    from csrl_core.estimators.cluster_specific import ClusterSpecific
    from csrl_core.estimators.rbm import TensorizedRBM
    from csrl_core.estimators.saved import load
    from csrl_core.experiments import fig2 as reproduce
    from csrl_core.models.base import BatchModel, ClusterModel
    from csrl_core.training.loop import NonFiniteLossError
