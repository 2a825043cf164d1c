"""Arguments changed after a fit: every method refuses those with which the parameters would mean something else."""

import numpy as np
import pytest
from sklearn.base import clone

from csrl_core import ClusterModel, ClusterSpecific, TensorizedAutoencoder, TensorizedRBM, datasets
from csrl_core.training.parameters import Layout, Parameters

X, Y = datasets.make_lines_3d(random_state=0)
B = (np.random.RandomState(0).rand(60, 8) < 0.5).astype(np.float32)

# NumPy: both test processes import this file, and each would compile what Numba takes.
AUTOENCODER = TensorizedAutoencoder(n_clusters=3, hidden=(3, 1), epochs=2, random_state=0, backend="numpy").fit(X)
MACHINE = TensorizedRBM(n_hidden=4, epochs=1, ais_betas=5, ais_chains=3, random_state=0, backend="numpy").fit(B)

QUESTIONS = {
    "predict": lambda model, X: model.predict(X),
    "transform": lambda model, X: model.transform(X),
    "transform_all": lambda model, X: model.transform_all(X),
    "cluster_losses": lambda model, X: model.cluster_losses(X),
    "reconstruct": lambda model, X: model.reconstruct(X),
    "inverse_transform": lambda model, X: model.inverse_transform(np.zeros((1, 1), X.dtype)),
    "score": lambda model, X: model.score(X),
    "value_and_gradient": lambda model, X: model.value_and_gradient(X, np.zeros(len(X), int)),
    "named_parameters": lambda model, X: model.named_parameters(),
    "get_feature_names_out": lambda model, X: model.get_feature_names_out(),
    "partial_fit": lambda model, X: model.partial_fit(X),
    "save": lambda model, X: model.save("/nowhere/model"),
}
MACHINE_QUESTIONS = {
    "free_energy": lambda model, X: model.free_energy(X),
    "log_partition_": lambda model, X: model.log_partition_,
    "pseudo_likelihood": lambda model, X: model.pseudo_likelihood(X),
    "free_energy_gap": lambda model, X: model.free_energy_gap(X, X),
    "gibbs": lambda model, X: model.gibbs(X),
    "sample": lambda model, X: model.sample(2, steps=1),
    "estimate_log_partition": lambda model, X: model.estimate_log_partition(),
}


def copy_of(model):
    """A copy that shares no array to which `partial_fit` writes."""
    other = clone(model)
    vars(other).update(vars(model))
    other.state_ = {name: array.copy() for name, array in model.state_.items()}
    return other


def refused(model, X, changes, questions):
    """Every method names both values in its error; with the old value its results are the same as before."""
    ((name, value),) = changes.items()
    was, labels = model.get_params()[name], model.predict(X)
    for ask in questions.values():
        model.set_params(**changes)
        with pytest.raises(ValueError, match=rf"{name}=.*fitted with {name}=.*; fit it again, or set {name} back") as e:
            ask(model, X)
        assert repr(value) in str(e.value)
        model.set_params(**{name: was})
    np.testing.assert_array_equal(model.predict(X), labels)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": (40, 10)},
        {"hidden": (2, 1)},
        {"hidden": (3,)},
        {"n_clusters": 2},
        {"n_clusters": 5},
        {"shared": 1},
        {"bias": True},
        {"activation": "tanh"},
        {"output_activation": "sigmoid"},
        {"center": False},
        {"assignment": "likelihood"},
    ],
    ids=str,
)
def test_of_an_autoencoder(changes):
    refused(copy_of(AUTOENCODER), X, changes, QUESTIONS)


@pytest.mark.parametrize(
    "changes",
    [{"n_clusters": 3}, {"n_hidden": 9}, {"visible": "gaussian"}, {"center": True}, {"assignment": "cd"}],
    ids=str,
)
def test_of_a_machine(changes):
    refused(copy_of(MACHINE), B, changes, QUESTIONS | MACHINE_QUESTIONS)


def test_equivalent_values_are_not_a_change():
    model = copy_of(AUTOENCODER).set_params(hidden=[np.int64(3), 1], bias=np.False_, n_clusters=np.int32(3))
    np.testing.assert_array_equal(model.predict(X), AUTOENCODER.labels_)
    model.set_params(learning_rate=0.5, epochs=9, init="random", n_jobs=1, update="assign-then-step").partial_fit(X)
    machine = copy_of(MACHINE).set_params(center=False, gibbs_steps=3, ais_betas=7)
    np.testing.assert_array_equal(machine.predict(B), MACHINE.labels_)


def test_a_new_fit_takes_the_new_arguments():
    model = copy_of(AUTOENCODER).set_params(hidden=(2,), n_clusters=2).fit(X)
    assert model.transform_all(X).shape == (300, 2, 2)


def test_a_fit_that_learnt_nothing_leaves_the_old_description():
    model = copy_of(AUTOENCODER).set_params(hidden=(2,), learning_rate=1e300)
    with pytest.raises(FloatingPointError), np.errstate(all="ignore"):
        model.fit(X * 1e200)
    with pytest.raises(ValueError, match="fitted with hidden="):
        model.predict(X)
    np.testing.assert_array_equal(model.set_params(hidden=(3, 1)).predict(X), AUTOENCODER.labels_)


class Flat(ClusterModel):
    """Distances from one point for each cluster; the test chooses which method returns a wrong shape."""

    def __init__(self, wrong=None):
        self.wrong = wrong

    def init_parameters(self, X, n_clusters, draw):
        return {"at": draw.normal((n_clusters, X.shape[1]))}

    def losses(self, params, X, target, centers, draw):
        L = ((X[:, None] - centers - params["at"]) ** 2).sum(axis=2)
        return L[:, :1] if self.wrong == "losses" else L

    def gradient(self, params, X, target, centers, assign, weights, draw):
        return {"at": np.zeros_like(params["at"])}

    def embed(self, params, X, centers, draw):
        return np.zeros((len(X), len(centers), 1), X.dtype)

    def losses_and_gradient(self, params, X, target, centers, assign, weights, draw, every=True):
        L, assign, gradient = super().losses_and_gradient(params, X, target, centers, assign, weights, draw)
        if self.wrong == "assignment":
            assign = assign + 10**6
        if self.wrong == "gradient":
            gradient = np.zeros(1, X.dtype)
        return L, assign, gradient


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("losses", r"Flat.losses returned shape \(300, 1\); expected \(300, 2\)"),
        ("assignment", "Flat.losses_and_gradient assigned samples to clusters 100000. to 100000.; expected 0 to 1"),
        ("gradient", r"Flat.gradient returned shape \(1,\); expected \(12,\)"),
    ],
)
def test_a_users_model_cannot_make_kernels_read_beyond_arrays(wrong, message):
    with pytest.raises(ValueError, match=message):
        ClusterSpecific(Flat(wrong), update="assign-then-step", epochs=2, random_state=0).fit(X)
    fitted = ClusterSpecific(Flat(), epochs=1, random_state=0).fit(X)
    fitted.model.wrong = wrong
    if wrong == "losses":
        for ask in (fitted.predict, fitted.cluster_losses, lambda X: fitted.value_and_gradient(X, fitted.labels_)):
            with pytest.raises(ValueError, match="returned shape"):
                ask(X)


def test_another_users_model_is_refused():
    fitted = ClusterSpecific(Flat(), epochs=1, random_state=0).fit(X)

    class Other(Flat):
        pass

    with pytest.raises(ValueError, match="Other', but this ClusterSpecific was fitted with model="):
        fitted.set_params(model=Other()).predict(X)


def test_parameters_of_another_length_are_refused():
    layout = Layout({"weight": (2, 3)})
    for length in (5, 7):
        with pytest.raises(ValueError, match=rf"parameters have shape \({length},\); expected \(6,\)"):
            Parameters(layout, np.zeros(length))
    model = copy_of(AUTOENCODER)
    model.params_ = model.params_[:-1]
    with pytest.raises(ValueError, match="the parameters have shape"):
        model.predict(X)
