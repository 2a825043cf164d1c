"""`ClusterSpecific`, the estimator for a user's own model."""

import inspect
from dataclasses import field

from csrl_core.estimators.arguments import estimator
from csrl_core.estimators.base import BaseClusterSpecific
from csrl_core.models.base import ClusterModel

# The arguments with which a model's methods are called.
CALLS = {
    "init_parameters": ("X", "n_clusters", "draw"),
    "losses": ("params", "X", "target", "centers", "draw"),
    "gradient": ("params", "X", "target", "centers", "assign", "weights", "draw"),
    "embed": ("params", "X", "centers", "draw"),
    "decode": ("params", "Z", "assign", "centers", "draw"),
    "codes": ("params", "X", "centers", "draw"),
}


@estimator
class ClusterSpecific(BaseClusterSpecific):
    """Trains any `ClusterModel` by the joint assignment objective.

    Parameters
    ----------
    model : ClusterModel
        Losses, their gradient, and an embedding.
    assignment : {"loss", "likelihood"}, default="loss"
        "likelihood" needs a model with a method ``codes``.
    standing_epochs : int or "auto", default="auto"
        Epochs at the start of training during which the first assignment stands. "auto": the model's
        ``standing_epochs``.
    init : {"auto", "k-means++", "k-means", "random"}, labels (n,) or centres (k, d), default="auto"
        The first assignment. "auto" is the best of ten "k-means"; for a model with ``follows_clusters`` the best of
        five "k-means", or of five "k-means++" if one of these is clearly better (`csrl_core.training.starts`).
    """

    model: ClusterModel = field(kw_only=False)

    _parameter_constraints = {"model": [ClusterModel]}
    _made_for_a_size = False  # only who wrote the model knows
    _numbered = True  # so does its `Draw`

    def _validate_params(self):
        super()._validate_params()
        for name, arguments in CALLS.items():
            method = getattr(self.model, name)
            if method is None:  # an optional method that the model does not have
                continue
            signature = inspect.signature(method)
            try:
                signature.bind(*arguments)
            except TypeError:
                raise ValueError(
                    f"{type(self.model).__name__}.{name} takes {signature}; expected ({', '.join(arguments)})"
                ) from None

    def _model(self, backend):
        return self.model

    def _description(self):
        return super()._description() | {"model": f"{type(self.model).__module__}.{type(self.model).__qualname__}"}

    def _has_decoder(self):
        return self.model.decode is not None
