"""Instance discrimination against a background (cIDFD); the mathematics is in `csrl_core.reference.instance`.

Source: Oshima, Takagi, Nakata, arXiv 2408.04891, of which the abstract alone was at hand: the losses are our reading
of it.
"""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval
from sklearn.utils.metaestimators import available_if

from csrl_core.backends import as_numpy
from csrl_core.callbacks import with_callbacks
from csrl_core.estimators.arguments import estimator
from csrl_core.estimators.batch import BaseBatchModel
from csrl_core.estimators.device_input import check_beside
from csrl_core.estimators.instance import InstanceDiscrimination
from csrl_core.estimators.instance_arguments import InstanceArguments
from csrl_core.estimators.row_by_row import row_by_row


@estimator
class ContrastiveInstanceDiscrimination(InstanceArguments, BaseBatchModel):
    """Instance discrimination of what a reference data set, the background, does not have (cIDFD).

    `InstanceDiscrimination` learns features b of the background; then features v of the samples tell these apart, where
    samples that look alike to b weigh more: the logits are v_mᵀv/τ + b_mᵀb/τ_b, so that the difference must come from
    v. b is taken less its mean over the samples, of unit norm. This is our reading of the abstract of arXiv 2408.04891.

    Parameters
    ----------
    n_clusters : int, default=2
        The number of clusters, k, which only the k-means at the end needs.
    background_temperature : float, default=0.1
        τ_b. The lower it is, the more do samples with the same background weigh.
    decorrelate_background : bool, default=False
        Whether the columns of v are decorrelated from those of b too.
    background_epochs : int or None, default=None
        Passes over the background, by default as many as ``epochs``.

    Attributes
    ----------
    labels_, cluster_centers_, params_, loss_, loss_curve_, n_iter_, n_steps_, backend_ : as of `InstanceDiscrimination`
    state_ : dict; its "background" (n, e) has b of the samples, e = D for each background

    Examples
    --------
    >>> import numpy as np
    >>> from csrl_core import ContrastiveInstanceDiscrimination
    >>> rng = np.random.default_rng(0)
    >>> background = 2 * rng.normal(size=(80, 3)) @ rng.normal(size=(3, 8))
    >>> X = 2 * rng.normal(size=(60, 3)) @ rng.normal(size=(3, 8)) + np.repeat([[1.0], [-1.0]], 30, axis=0)
    >>> model = ContrastiveInstanceDiscrimination(hidden=(16,), latent=3, epochs=5, random_state=0)
    >>> model.fit(X, background=background).transform(X).shape
    (60, 3)
    >>> model.background_transform(X).shape
    (60, 3)
    """

    background_temperature: float = 0.1
    decorrelate_background: bool = False
    background_epochs: int | None = None
    epochs: int = 60
    batch_size: int | None = 128
    learning_rate: float = 0.001
    learning_rate_schedule: str = "cosine"

    _parameter_constraints = {
        "background_temperature": [Interval(Real, 0, None, closed="neither")],
        "decorrelate_background": ["boolean"],
        "background_epochs": [None, Interval(Integral, 0, None, closed="left")],
    }

    @with_callbacks
    def fit(self, X, y=None, *, background=None, sample_weight=None, resume=None):
        """Learn features of the background, then those of the samples that it does not have; then cluster these.

        Parameters
        ----------
        X, y, sample_weight, resume : as of `InstanceDiscrimination.fit`
        background : array-like (m, d), or list of such
            Samples of what is not of interest. Of several backgrounds each gets an extractor of its own.

        Returns
        -------
        self

        Raises
        ------
        ValueError, NonFiniteLossError
            As `InstanceDiscrimination.fit`.

        Warns
        -----
        UserWarning
            There is no background: then this is `InstanceDiscrimination`.
        """
        if background is None:
            warnings.warn(
                "fit got no background, so that this is InstanceDiscrimination; pass fit(X, background=Y)",
                UserWarning,
                stacklevel=4,
            )
        return self._fit(X, y, sample_weight, resume, lambda X: self._check_background(background, X))

    @available_if(lambda estimator: False)  # the background's extractor is trained on all of it, before
    def partial_fit(self, X, y=None):
        """There is none."""

    @row_by_row
    def background_transform(self, X):
        """b of every sample, (n, e): the features of the background's extractors that the losses take."""
        self._check_fitted()
        if "background" not in self.state_:
            raise ValueError("this estimator was fitted without a background")
        return self._map(X, lambda fitted, x: fitted.model.background_features(fitted.parameters, x))

    def _check_background(self, background, X):
        """The backgrounds, checked, as a list of arrays (m, d)."""
        if background is None:
            return []
        several = isinstance(background, (list, tuple)) and all(np.ndim(part) >= 2 for part in background)
        checked = []
        for r, Y in enumerate(background if several else [background]):
            name = f"background[{r}]" if several else "background"
            Y = check_beside(self, self._flat(Y, name), X, name)
            if Y.shape[1] != X.shape[1]:
                raise ValueError(f"{name} has {Y.shape[1]} features; expected those of X, {X.shape[1]}")
            if len(Y) < 2:
                raise ValueError(f"{name} has {len(Y)} samples; expected at least 2")
            checked.append(Y)
        return checked

    def _losses(self):
        return (
            super()
            ._losses()
            ._replace(
                background_temperature=self.background_temperature, decorrelate_background=self.decorrelate_background
            )
        )

    def _model(self, backend, X=None, weight=None, others=(), key=None):
        model = super()._model(backend, X)
        model.background = self._extracted(X, weight, others, key) if others else {}
        return model

    def _extracted(self, X, weight, backgrounds, key):
        """Arrays of the state: extractors that were trained on the backgrounds, and b of the samples."""
        params, averages, centers, features = [], [], [], []
        names = set(InstanceDiscrimination().get_params())
        arguments = {name: value for name, value in self.get_params().items() if name in names}
        epochs = self.epochs if self.background_epochs is None else self.background_epochs
        for r, Y in enumerate(backgrounds):
            seed = (int(key[0]) + r + 1) % 2**32
            changes = {"n_clusters": 1, "n_init": 1, "epochs": epochs, "random_state": seed}
            extractor = InstanceDiscrimination(**arguments | changes).fit(Y)
            V = as_numpy(extractor.transform(X))
            centers.append(np.average(V, axis=0, weights=as_numpy(weight)).astype(V.dtype))
            B = V - centers[-1]
            norms = np.sqrt((B * B).sum(axis=1, keepdims=True))
            features.append(B / np.where(norms > 0, norms, V.dtype.type(1)))
            params.append(as_numpy(extractor.params_))
            state = [as_numpy(extractor.state_[name]).ravel() for name in self._networks().state_shapes]
            averages.append(np.concatenate([params[-1][:0], *state]))
        arrays = np.concatenate(features, axis=1), np.stack(params), np.stack(averages), np.stack(centers)
        return dict(zip(("background", *(f"background_{n}" for n in ("params", "averages", "center"))), arrays))

    def _state_shapes(self):
        required, optional = super()._state_shapes()
        D, networks = int(self.latent), self._networks()
        sizes = (sum(int(np.prod(s)) for s in shapes.values()) for shapes in (networks.shapes, networks.state_shapes))
        shapes = dict(zip(("params", "averages"), sizes), center=D)
        optional |= {f"background_{name}": ((None, size), None) for name, size in shapes.items()}
        return required, optional | {"background": ((None, None), None)}
