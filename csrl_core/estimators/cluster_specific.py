"""`ClusterSpecific`, the estimator of a model of one's own."""

from sklearn.utils._param_validation import StrOptions

from csrl_core.estimators.base import BaseClusterSpecific
from csrl_core.training.joint import ClusterModel


class ClusterSpecific(BaseClusterSpecific):
    """Any `ClusterModel` under the joint assignment objective.

    Parameters
    ----------
    model : ClusterModel
        Losses, their gradient, and an embedding.
    n_clusters : int
    epochs, batch_size, learning_rate, optimizer, clip_norm
        Training; ``batch_size=None`` is full batch.
    center : bool
        Whether the model sees the clusters' centres (else zeros).
    update : {"step-then-assign", "assign-then-step"}
    center_update : {"mean", "running"}
    assignment : {"loss", "likelihood"}
        "likelihood" needs a model with a method ``codes``.
    tol, n_iter_no_change
        Stopping; ``tol=0`` runs all epochs.
    n_init, init
        Restarts and the first assignment: "auto", "k-means++", "k-means", "random", labels (n,) or centres (k, d).
        "auto" is the best of ten "k-means", for a model with ``follows_clusters`` the better of such a one and of
        "k-means++" (`csrl_core.training.starts`).
    backend, n_jobs, random_state, verbose
    """

    _parameter_constraints = {
        **BaseClusterSpecific._parameter_constraints,
        "model": [ClusterModel],
        "init": [StrOptions({"auto", "k-means++", "k-means", "random"}), "array-like"],
    }

    def __init__(
        self,
        model,
        *,
        n_clusters=2,
        epochs=150,
        batch_size=None,
        learning_rate=0.01,
        optimizer="adam",
        center=True,
        update="step-then-assign",
        center_update="mean",
        assignment="loss",
        tol=0.0,
        n_iter_no_change=10,
        n_init=1,
        init="auto",
        clip_norm=None,
        backend="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.n_clusters = n_clusters
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.center = center
        self.update = update
        self.center_update = center_update
        self.assignment = assignment
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.n_init = n_init
        self.init = init
        self.clip_norm = clip_norm
        self.backend = backend
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _model(self, backend):
        return self.model

    def _description(self):
        return super()._description() | {"model": f"{type(self.model).__module__}.{type(self.model).__qualname__}"}

    def _has_decoder(self):
        return hasattr(self.model, "decode")
