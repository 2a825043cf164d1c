"""The variational autoencoder's part: finite differences, closed forms, a bound of a density that is known, PyTorch."""

import numpy as np
import pytest
from gradients import differences
from scipy.integrate import quad
from scipy.stats import norm

from csrl_core.contract.cases.vae import problem
from csrl_core.reference import vae as reference

SIZE = 6, 3, 4, 2
every_output = pytest.mark.parametrize("output", reference.OUTPUTS.values(), ids=reference.OUTPUTS)


@every_output
def test_gradients_are_finite_differences_with_the_noise_fixed(output):
    """Of Σ w ℓ with a linear decoder a = z D, with respect to output, mean and logvar."""
    a = problem(*SIZE, np.float64)
    D = np.random.default_rng(1).normal(size=(2, 4))

    def value():
        A = reference.reparameterise(a["heads"], a["noise"]) @ D
        return (a["weights"] * reference.losses(A, a["heads"], a["target"], output, 0.3, 2.0)).sum()

    A = reference.reparameterise(a["heads"], a["noise"]) @ D
    G = reference.output_gradient(A, a["target"], a["weights"], output, 0.3)
    own = reference.heads_gradient(G @ D.T, a["heads"], a["noise"], a["weights"], 2.0)
    np.testing.assert_allclose(own, differences(value, a["heads"]), rtol=1e-6, atol=1e-8)
    by_output = differences(lambda: (a["weights"] * reference.reconstruction(A, a["target"], output, 0.3)).sum(), A)
    np.testing.assert_allclose(G, by_output, rtol=1e-6, atol=1e-8)


def test_with_half_the_penalty_is_the_divergence_of_two_normal_distributions():
    heads = np.random.default_rng(0).normal(size=(5, 2))
    own = reference.losses(np.zeros((5, 1)), heads, np.zeros((5, 1)), reference.GAUSSIAN, 1.0, 0.5)
    for (mean, logvar), value in zip(heads, own, strict=True):
        q = norm(mean, np.exp(logvar / 2))
        integral = quad(lambda z, q=q: q.pdf(z) * (q.logpdf(z) - norm.logpdf(z)), -20, 20, epsabs=1e-12)[0]
        np.testing.assert_allclose(value, integral, rtol=1e-7)
    assert reference.losses(np.zeros((1, 1)), np.zeros((1, 2)), np.zeros((1, 1)), 1, 1.0, 3.0) == 0


def test_reconstructions_by_hand():
    A, T = np.array([[0.0, 2.0]]), np.array([[1.0, 0.5]])
    p = 1 / (1 + np.exp(-2.0))
    bernoulli = np.log(2) - 0.5 * np.log(p) - 0.5 * np.log(1 - p)
    for output, expected in zip(range(3), (bernoulli, (1 + 1.5**2) / (2 * 0.3), (1 + 1.5**2) / 2), strict=True):
        np.testing.assert_allclose(reference.reconstruction(A, T, output, 0.3), [expected])


def test_saturated_logits_neither_overflow_nor_cancel():
    A, T = np.array([[1000.0, -1000, 40]]), np.array([[1.0, 0, 1]])
    np.testing.assert_allclose(reference.reconstruction(A, T, reference.BERNOULLI, 1.0), [np.exp(-40)], rtol=1e-12)
    assert np.isfinite(reference.output_gradient(A, T, np.ones(1), reference.BERNOULLI, 1.0)).all()


def test_rows_of_a_sample_have_its_target_and_its_noise():
    a = problem(6, 2, 4, 3, np.float64)
    wide = {name: np.tile(a[name], (3, 1)) for name in ("target", "noise")}
    for one, other in (
        (reference.reparameterise(a["heads"], a["noise"]), reference.reparameterise(a["heads"], wide["noise"])),
        (
            reference.losses(a["A"], a["heads"], a["target"], 0, 1.0, 0.5),
            reference.losses(a["A"], a["heads"], wide["target"], 0, 1.0, 0.5),
        ),
    ):
        np.testing.assert_array_equal(one, other)


def test_weights_estimate_the_density_of_a_linear_model_with_gaussian_output():
    """x = D z + e has the density N(0, D Dᵀ + σ² I); the bound is below it, and tight where q is the posterior."""
    random = np.random.default_rng(0)
    D, variance, x = random.normal(size=(2, 3)), 0.5, random.normal(size=(1, 3))
    covariance = D.T @ D + variance * np.eye(3)
    exact = -0.5 * (x @ np.linalg.solve(covariance, x.T))[0, 0] - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    # In one latent dimension the posterior is a normal distribution, and with it as q weights are constant.
    D1 = D[:1]
    posterior = 1 / (1 + (D1 @ D1.T)[0, 0] / variance)
    heads = np.array([[posterior * (x @ D1.T)[0, 0] / variance, np.log(posterior)]])
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(size=(1, 1))
        z = reference.reparameterise(heads, noise)
        one = reference.log_weights(z @ D1, heads, noise, x, reference.GAUSSIAN, variance)[0]
        of_one = D1.T @ D1 + variance * np.eye(3)
        known = -0.5 * (x @ np.linalg.solve(of_one, x.T))[0, 0] - 0.5 * np.linalg.slogdet(2 * np.pi * of_one)[1]
        np.testing.assert_allclose(one, known, rtol=1e-10)
        np.testing.assert_allclose(one, reference.log_weights(z @ D1, heads, noise, x, reference.MSE, variance)[0])
    # Otherwise their mean tends to the density, and the mean of their logarithms lies below.
    heads, noise = np.array([[0.1, -0.2, -0.5, -0.4]]), random.normal(size=(200_000, 2))
    heads = np.repeat(heads, len(noise), axis=0)
    z = reference.reparameterise(heads, noise)
    weights = reference.log_weights(z @ D, heads, noise, np.repeat(x, len(z), axis=0), reference.GAUSSIAN, variance)
    np.testing.assert_allclose(np.log(np.exp(weights - exact).mean()), 0, atol=0.02)
    assert weights.mean() < exact


@every_output
def test_gradients_are_those_of_torch(output):
    torch = pytest.importorskip("torch")
    a = problem(6, 6, 4, 2, np.float64)
    heads, A = (torch.tensor(a[name], requires_grad=True) for name in ("heads", "A"))
    T, w, noise = (torch.tensor(a[name]) for name in ("target", "weights", "noise"))
    mean, logvar = heads[:, :2], heads[:, 2:]
    z = mean + torch.exp(logvar / 2) * noise
    if output == reference.BERNOULLI:
        R = torch.nn.functional.binary_cross_entropy_with_logits(A, T, reduction="none").sum(1)
    else:
        R = ((A - T) ** 2).sum(1) / (0.6 if output == reference.GAUSSIAN else 4)
    L = R + 2.0 * (mean**2 + logvar.exp() - 1 - logvar).sum(1)
    ((w * L).sum() + (torch.tensor(a["G"]) * z).sum()).backward()
    np.testing.assert_allclose(reference.reparameterise(a["heads"], a["noise"]), z.detach(), rtol=1e-12)
    own = reference.losses(a["A"], a["heads"], a["target"], output, 0.3, 2.0)
    np.testing.assert_allclose(own, L.detach(), rtol=1e-12)
    G = reference.output_gradient(a["A"], a["target"], a["weights"], output, 0.3)
    np.testing.assert_allclose(G, A.grad, rtol=1e-9, atol=1e-12)
    G = reference.heads_gradient(a["G"], a["heads"], a["noise"], a["weights"], 2.0)
    np.testing.assert_allclose(G, heads.grad, rtol=1e-9, atol=1e-12)
