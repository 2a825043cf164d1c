"""What a model's file remembers of the table that it was fitted to: names, scaling, identifier, means."""

from contextlib import contextmanager

import numpy as np

from csrl_core.estimators.scaling import Scaling


def equipment(data, scaling):
    """A context in which a model has all that its file is to remember of the table: names, scaling, identifier, means.

    Afterwards it has no names any more, so that arrays can be given to it.
    """

    @contextmanager
    def equip(model):
        if scaling is not None:
            model.scaling_ = scaling
        table = {"identifier": data.identifier, "means": None if data.means is None else np.float64(data.means)}
        table = {name: value for name, value in table.items() if value is not None}
        if table:
            model.table_ = table
        if data.named:
            model.feature_names_in_ = np.array(data.columns, dtype=object)
        try:
            yield
        finally:
            vars(model).pop("feature_names_in_", None)

    return equip


def scaling_of(request, data, say):
    """The `Scaling` that a request asks for, fitted to the data; None if none."""
    kind = request.scaling
    if kind is None:
        return None
    scaling = Scaling.of(kind, data.X, request.divide_by)
    constant = [] if kind == "divide" else np.flatnonzero(data.X.min(axis=0) == data.X.max(axis=0))
    also = f"; {len(constant)} constant columns are only shifted" if len(constant) else ""
    doing = {"divide": f"divided by {request.divide_by}", "standardize": "standardized", "minmax": "scaled to [0, 1]"}
    say(f"scaling    every column is {doing[kind]}; the model keeps that and does it with new data{also}")
    return scaling
