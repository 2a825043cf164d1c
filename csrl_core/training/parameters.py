"""All trained parameters of a model: one flat vector with named views, cluster axis first.

So there is one array to update, save, send and compare. A view has shape (k, …) if every cluster has its own copy, and
(1, …) if all clusters share one.
"""

from collections.abc import Mapping
from math import prod

import numpy as np

from csrl_core.backends import is_device_array


class Layout:
    """Names and shapes of parameters, in their order in the flat vector.

    shapes : dict of name → shape, cluster axis first
    """

    def __init__(self, shapes):
        self.shapes = {name: tuple(int(length) for length in shape) for name, shape in shapes.items()}
        self.offsets, self.size = {}, 0
        for name, shape in self.shapes.items():
            self.offsets[name] = self.size
            self.size += prod(shape)

    def views(self, flat):
        """Dict of name → view into ``flat`` (p,), in order; writing to a view changes ``flat``."""
        return {
            name: flat[start : start + prod(self.shapes[name])].reshape(self.shapes[name])
            for name, start in self.offsets.items()
        }

    def flatten(self, named, dtype=None, argument="parameters"):
        """Concatenate the arrays of ``named``, each in C order. named : mapping of the layout's names to arrays.

        Raises
        ------
        ValueError
            Names are missing or unknown, or a shape is not the layout's.
        """
        if set(named) != set(self.shapes):
            raise ValueError(f"{argument} has names {sorted(named)}; expected {sorted(self.shapes)}")
        for name, shape in self.shapes.items():
            if np.shape(named[name]) != shape:
                raise ValueError(f"{argument}[{name!r}] has shape {np.shape(named[name])}; expected {shape}")
        arrays = [named[name] if hasattr(named[name], "dtype") else np.asarray(named[name]) for name in self.shapes]
        parts = [array.astype(dtype or array.dtype, copy=False).ravel() for array in arrays]
        if not parts or is_device_array(parts[0]):
            return np.concatenate(parts) if parts else np.empty(0, dtype or np.float64)
        return np.concatenate(parts)

    def cluster(self, flat, j, n_clusters):
        """List of views, one for each cluster-specific parameter: cluster j's own copy."""
        return [view[j] for view in self.views(flat).values() if len(view) == n_clusters and n_clusters > 1]


class Parameters(Mapping):
    """A flat vector and its named views: ``parameters["encoder.0.weight"]``, ``parameters.flat``.

    state : dict of named arrays that belong to the run and that no gradient trains
    """

    def __init__(self, layout, flat, state=None):
        if flat.shape != (layout.size,):  # kernels take the vector as it is
            raise ValueError(f"the parameters have shape {flat.shape}; expected {(layout.size,)}")
        self.layout, self.flat, self.state = layout, flat, {} if state is None else state
        self._views = layout.views(flat)

    def __getitem__(self, name):
        return self._views[name]

    def __iter__(self):
        return iter(self._views)

    def __len__(self):
        return len(self._views)


def check_shape(model, array, shape, what):
    """Raise ValueError unless the array that a model's method returned has the shape that kernels expect.

    what : str, how the message names the array
    """
    if np.shape(array) != shape:
        raise ValueError(f"{type(model).__name__}.{what} returned shape {np.shape(array)}; expected {shape}")
