"""A resumed fit equals an uninterrupted one, for any model, callbacks and epoch of the interruption."""

import numpy as np
import pytest
from resume_helpers import BINARY, REAL, Countdown, EveryEpoch, same_estimators, saved_copy
from sklearn.base import clone

from csrl_core import ClusterModel, ClusterSpecific, TensorizedAutoencoder, TensorizedRBM, TensorizedVAE, callbacks


class Slopes(ClusterModel):
    """A user's model: every cluster's samples lie along a direction W_j from its centre."""

    def init_parameters(self, X, n_clusters, draw):
        return {"direction": draw.normal((n_clusters, X.shape[1])), "scale": draw.uniform((1, 1), 0.5, 1)}

    def _residuals(self, params, X, centers):
        Z = self.embed(params, X, centers, None)
        return X[:, None] - centers - Z * params["direction"], Z

    def losses(self, params, X, target, centers, draw):
        R, _ = self._residuals(params, X, centers)
        return np.sum(R**2, axis=2)

    def gradient(self, params, X, target, centers, assign, weights, draw):
        rows = np.arange(len(X))
        R, Z = (array[rows, assign] for array in self._residuals(params, X, centers))
        x, W, s = X - centers[assign], params["direction"][assign], params["scale"]
        G = -2 * weights[:, None] * (Z * R + s * np.sum(R * W, axis=1, keepdims=True) * x)
        direction = np.zeros_like(params["direction"])
        np.add.at(direction, assign, G)
        inner = np.sum(x * W, axis=1) * np.sum(R * W, axis=1)
        return {"direction": direction, "scale": np.full((1, 1), -2 * np.sum(weights * inner))}

    def embed(self, params, X, centers, draw):
        return params["scale"] * np.sum((X[:, None] - centers) * params["direction"], axis=2)[:, :, None]

    def codes(self, params, X, centers, draw):
        return self.embed(params, X, centers, draw), self.losses(params, X, X, centers, draw)


class Noisy(Slopes):
    """The same, trained on noisy samples, with a running scale for every cluster and a count of steps."""

    standing_epochs = 1

    def init_state(self, params, data, assign, centers, draw):
        if "running" in params.state:
            return {}
        return {"running": draw.uniform((len(centers),), 0.5, 1), "steps": np.zeros(1, np.int64)}

    def losses(self, params, X, target, centers, draw):
        noisy = X + draw.normal(X.shape, 0.1).astype(X.dtype) if draw.training else X
        return super().losses(params, noisy, target, centers, draw) / params.state["running"].astype(X.dtype)

    def gradient(self, params, X, target, centers, assign, weights, draw):
        noisy = X + draw.normal(X.shape, 0.1).astype(X.dtype) if draw.training else X
        weights = weights / params.state["running"].astype(X.dtype)[assign]
        return super().gradient(params, noisy, target, centers, assign, weights, draw)

    def losses_and_gradient(self, params, X, target, centers, assign, weights, draw, every=True):
        L, assign, gradient = super().losses_and_gradient(params, X, target, centers, assign, weights, draw)
        if draw.training:
            running, own = params.state["running"], L[np.arange(len(X)), assign]
            for j in np.unique(assign):
                running[j] = np.clip(0.9 * running[j] * (1 + 0.1 * own[assign == j].mean()), 0.1, 10)
            params.state["steps"][0] += 1
        return L, assign, gradient


def pick(rng, **choices):
    return {name: values[rng.integers(len(values))] for name, values in choices.items()}


def common(rng):
    return pick(
        rng,
        n_clusters=[1, 2, 3],
        epochs=[1, 5, 8],
        batch_size=[None, 16, 25],
        learning_rate=[0.003, 0.05],
        optimizer=["adam", "sgd"],
        update=["step-then-assign", "assign-then-step"],
        center_update=["mean", "running"],
        init=["k-means++", "random"],
        tol=[0.0, 0.3],
        n_iter_no_change=[1, 2],
        n_init=[1, 2],
        clip_norm=[None, 0.5],
        random_state=[0, 1],
    )


def autoencoder(rng):
    arguments = common(rng) | pick(
        rng,
        hidden=[(2,), (2, 1), (4, 2)],
        activation=["linear", "tanh", "relu"],
        bias=[False, True],
        shared=[0, 1],
        center=[True, False],
        reg=[0.0, 0.1],
        assignment=["loss", "likelihood"],
        backend=["numba", "numba", "numpy"],
    )
    return TensorizedAutoencoder(**arguments)


def linear(rng, **changes):
    plain = {"activation": "linear", "bias": False, "shared": 0, "center": True, **changes}
    return autoencoder(rng).set_params(**plain)


def machine(rng):
    arguments = common(rng) | pick(
        rng,
        n_hidden=[3, 8],
        visible=["bernoulli", "gaussian"],
        gibbs_steps=[1, 2],
        persistent=[False, True],
        n_chains=[None, 5],
        weight_decay=[0.0, 0.01],
        standing_epochs=[0, 1],
        assignment=["likelihood", "likelihood", "cd"],
        ais_every=[1, 3],
        backend=["numba", "numba", "numpy"],
    )
    momentum = 0.5 if arguments["optimizer"] == "sgd" else 0.0
    return TensorizedRBM(ais_chains=8, ais_betas=20, momentum=momentum, **arguments)


def variational(rng):
    arguments = common(rng) | pick(
        rng,
        layers=["dense", "conv", "of one's own"],
        reconstruction_loss=["bernoulli", "gaussian", "mse"],
        center=[True, False],
        latent=[1, 2],
        standing_epochs=[0, 1],
        backend=["numba", "numba", "numpy"],
    )
    own = {
        "encoder": ("dense 5 tanh shared", "batch_norm", "dropout 0.2"),
        "decoder": ("dense 5 relu", "dense 6 shared"),
    }
    layers = {
        "dense": {"hidden": (5, 4), "shared": 1},
        "conv": {"architecture": "conv", "channels": (2,), "image_shape": (6, 1, 1)},
        "of one's own": own,
    }[arguments.pop("layers")]
    return TensorizedVAE(**arguments | layers | {"optimizer": "adam", "bound_samples": 3})


def own_model(rng, model=None):
    arguments = common(rng) | pick(rng, assignment=["loss", "likelihood"], center=[True, False])
    return ClusterSpecific(
        model or Slopes(), **arguments | {"optimizer": "adam"}
    )  # the quartic loss is too steep for SGD


MODELS = {
    "autoencoder": autoencoder,
    "exact": lambda rng: linear(rng, solver="exact", reg=0.0, batch_size=None, center_update="mean"),
    "components": lambda rng: linear(rng, start="components"),
    "machine": machine,
    "variational": variational,
    "own model": own_model,
    "model that draws": lambda rng: own_model(rng, Noisy()),
}


def watchers(rng, model, X):
    """Zero to three new callbacks."""
    make = [
        lambda: callbacks.EarlyStopping(patience=2, min_delta=0.01),
        callbacks.LossHistory,
        lambda: Countdown(6),
    ]
    if isinstance(model, TensorizedRBM):
        make.append(lambda: callbacks.FreeEnergyGap(X[:20], X[20:40], patience=2))
    return [make[i]() for i in rng.permutation(len(make))[: rng.integers(len(make))]]


def problem(kind, seed):
    """An estimator with random arguments, data, and further arguments of `fit`."""
    rng = np.random.default_rng([seed, *kind.encode()])
    model, fit = MODELS[kind](rng), {}
    X = BINARY if getattr(model, "visible", "") == "bernoulli" or kind == "variational" else REAL
    X = X.astype([np.float32, np.float64][rng.integers(2)])
    if rng.random() < 0.5:
        fit["sample_weight"] = rng.integers(1, 4, len(X)).astype(float)
    if kind in ("autoencoder", "components") and rng.random() < 0.3:
        fit["target"] = X + X.dtype.type(0.1) * rng.normal(size=X.shape).astype(X.dtype)
    return rng, model, X, fit


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", MODELS)
def test_a_fit_resumed_at_any_epoch_is_the_uninterrupted_one(kind, seed, tmp_path):
    rng, model, X, fit = problem(kind, seed)
    watching, saver = watchers(rng, model, X), EveryEpoch(tmp_path)
    # Some come before the checkpoint callback and some after it: the file must hold the decisions of all.
    model.set_callbacks(*([*watching, saver] if rng.random() < 0.5 else [saver, *watching])).fit(X, **fit)
    histories = [callback.state_dict() for callback in watching]
    points = {0, len(saver.paths) - 1, *rng.integers(len(saver.paths), size=2).tolist()}
    for point in sorted(points):
        again = clone(model).set_callbacks(*watching).fit(X, resume=saver.paths[point], **fit)
        assert [callback.state_dict() for callback in watching] == histories
        same_estimators(again, saved_copy(model), X)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", MODELS)
def test_more_epochs_and_restarts_are_those_of_a_fit_that_had_them_from_the_start(kind, seed, tmp_path):
    rng, model, X, fit = problem(kind, seed)
    watching, saver = watchers(rng, model, X), EveryEpoch(tmp_path)
    model.set_params(n_init=1).set_callbacks(*watching, saver).fit(X, **fit)
    more = {"epochs": model.epochs + 4, "n_init": 2}
    whole = clone(model).set_params(**more).set_callbacks(*watching).fit(X, **fit)
    histories = [callback.state_dict() for callback in watching]
    again = clone(model).set_params(**more).set_callbacks(*watching).fit(X, resume=saver.paths[-1], **fit)
    assert [callback.state_dict() for callback in watching] == histories
    same_estimators(again, whole, X)
