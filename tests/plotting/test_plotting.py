"""Pictures show the numbers they claim to show; how they look is for eyes."""

import sys

import numpy as np
import pytest

from csrl_core import (
    DeepDivergenceClustering,
    InstanceDiscrimination,
    TensorizedAutoencoder,
    TensorizedContrastive,
    TensorizedRBM,
    TensorizedVAE,
    datasets,
    plotting,
)
from csrl_core.estimators.scaling import Scaling

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'csrl_core[plot]'")


def fitted(X, **arguments):
    return TensorizedAutoencoder(**{"epochs": 5, "random_state": 0, "backend": "numpy"} | arguments).fit(X)


@pytest.fixture(scope="module")
def triangle():
    X, y = datasets.make_triangle(90, random_state=0)
    return X, y, fitted(X, n_clusters=3)


def points_of(ax):
    """All scattered points of an Axes, (m, 2)."""
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets())])


def test_one_dimensional_embeddings_lie_in_their_clusters_row(triangle):
    X, y, model = triangle
    ax = plotting.plot_embedding(model, X, y, names=["a", "b", "c"])
    points = points_of(ax)
    Z, labels = model.transform(X)[:, 0], model.predict(X)
    order = np.argsort(y, kind="stable")  # drawn class by class
    np.testing.assert_allclose(points[:, 0], Z[order])
    np.testing.assert_array_equal(np.round(points[:, 1]), labels[order])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b", "c"]
    sizes = np.bincount(labels, minlength=3)
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"cluster {j}\n({m})" for j, m in enumerate(sizes)]


@pytest.mark.parametrize("latent", [2, 3])
def test_larger_embeddings_lie_in_their_clusters_field(triangle, latent):
    X = triangle[0]
    model = fitted(X, n_clusters=3, hidden=(4, latent))
    points = points_of(plotting.plot_embedding(model, X))
    np.testing.assert_array_equal(np.round(points[:, 0]), model.predict(X))
    assert np.abs(points[:, 1]).max() <= 0.5


def test_models_that_give_frames_can_be_drawn(triangle):
    pandas = pytest.importorskip("pandas")
    X, y, model = triangle
    frames = fitted(pandas.DataFrame(X, columns=list("abcde")), n_clusters=3).set_output(transform="pandas")
    drawn = plotting.plot_embedding(frames, pandas.DataFrame(X, columns=list("abcde")), y)
    np.testing.assert_allclose(points_of(drawn), points_of(plotting.plot_embedding(model, X, y)), rtol=1e-9)


def test_a_cluster_of_one_sample_or_none_can_be_drawn(triangle):
    X, _, _ = triangle
    model = fitted(X, n_clusters=3, hidden=(4, 3))
    for rows in (X[:1], X[:2]):
        assert len(points_of(plotting.plot_embedding(model, rows))) == len(rows)
    plotting.plot_reconstruction(model, X[:1])


def test_the_loss_is_the_curve_and_the_end(triangle):
    _, _, model = triangle
    ax = plotting.plot_loss(model)
    assert ax.get_ylabel() == "mean squared error per feature + λ ‖z‖²"
    assert ax.get_title() == "TensorizedAutoencoder: 5 epochs of training"
    curve, end = ax.lines
    np.testing.assert_array_equal(curve.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(curve.get_ydata(), model.loss_curve_)
    assert end.get_ydata()[0] == model.loss_


def test_figure_1_draws_reconstructions_on_lines(triangle):
    X, y, _ = triangle
    arguments = {"hidden": (1,), "reg": 0.0, "epochs": 50, "learning_rate": 0.1}
    one, several = fitted(X, n_clusters=1, **arguments), fitted(X, n_clusters=3, **arguments)
    fig = plotting.plot_figure_1(one, several, X, y)
    for ax, model in zip(fig.axes, (one, several), strict=True):
        black = next(c for c in ax.collections if len(c.get_offsets()) == len(X))
        np.testing.assert_allclose(np.asarray(black.get_offsets()), model.reconstruct(X)[:, :2])
    lines = np.asarray(fig.axes[0].collections[0].get_segments())
    np.testing.assert_allclose(lines[:, 0], X[:, :2])
    spread = np.linalg.svd(lines[:, 1] - lines[:, 1].mean(axis=0), compute_uv=False)
    assert spread[1] < 1e-12 * spread[0]  # one direction; 90 roundings of 2⁻⁵³ stay far below
    assert "One linear autoencoder" in fig.axes[0].get_title()
    assert f"in all 5 dimensions {np.mean((X - several.reconstruct(X)) ** 2):.3g}" in fig.axes[1].get_title()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["0", "1", "2", "reconstruction"]


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_reconstructions_of_tables(triangle, columns):
    X = triangle[0][:, :columns]
    model = fitted(X, n_clusters=2, hidden=(1,))
    (ax,) = plotting.plot_reconstruction(model, X).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cluster 0", "cluster 1", "reconstruction"]
    variances = np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2
    share = f"first principal component, {100 * variances[0] / variances.sum():.0f} % of the variance"
    assert ax.get_xlabel() == (share if columns == 5 else "$x_0$, less its mean")
    segments = np.asarray(ax.collections[0].get_segments())
    assert segments.shape == (90, 2, 2)
    drawn = np.sum((segments[:, 0] - segments[:, 1]) ** 2, axis=1)
    true = np.sum((X - model.reconstruct(X)) ** 2, axis=1)
    if columns <= 2:
        np.testing.assert_allclose(drawn, true)
    else:
        assert (drawn <= true * (1 + 1e-9)).all()  # a projection shortens


def test_reconstructions_of_images():
    bunch = datasets.load("digits_0_4")
    X = bunch.data[:60] / 16
    model = fitted(X, n_clusters=3)
    assert plotting.image_shape_of(model, X) == (8, 8)
    fig = plotting.plot_reconstruction(model, X)  # images are known, and said
    assert "images of 8 × 8" in fig.get_suptitle()
    assert len(fig.axes) == 3 * 11
    assert len(plotting.plot_reconstruction(model, X, None).axes) == 1
    model.scaling_ = Scaling.of("divide", X, 1 / 16)  # centres are kept in the model's units, and drawn in the data's
    image = plotting.plot_reconstruction(model, X / 16).axes[0].images[0].get_array()
    np.testing.assert_allclose(image, model.cluster_centers_[0].reshape(8, 8) / 16)
    del model.scaling_
    image = fig.axes[0].images[0].get_array()
    np.testing.assert_allclose(image, model.cluster_centers_[0].reshape(8, 8))
    with pytest.raises(ValueError, match=r"image_shape=\(8, 9\).* = 64"):
        plotting.plot_reconstruction(model, X, (8, 9))


@pytest.mark.parametrize("kind", ["scales", "names", "permuted", "few"])
def test_tables_are_not_taken_as_images(kind):
    X = datasets.load("digits_0_4").data[:60]
    model = fitted(X, n_clusters=2)
    names = None
    if kind == "scales":
        X = np.random.default_rng(0).normal(size=(60, 64)) * np.logspace(0, 3, 64)
    elif kind == "names":
        names = ["weight", *(f"x{j}" for j in range(63))]
    elif kind == "permuted":
        X = np.random.default_rng(0).permutation(X.T).T
    else:
        X = X[:, :49]
    assert plotting.image_shape_of(model, X, names) is None


def test_one_space_is_one_plane_and_says_what_it_shows(triangle):
    X, y, _ = triangle
    model = InstanceDiscrimination(
        n_clusters=3, hidden=(8,), latent=4, epochs=1, random_state=0, backend="numpy", batch_size=90
    ).fit(X)
    ax = plotting.plot_embedding(model, X)
    names = [f"cluster {j}" for j in np.unique(model.labels_)]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*names, "mean of a cluster"]
    Z = model.transform(X)
    variances = np.linalg.svd(Z - Z.mean(axis=0), compute_uv=False) ** 2
    assert f"two of 4 dimensions: {100 * variances[:2].sum() / variances.sum():.0f} % of" in ax.get_title()
    assert ax.get_xlabel() == "first principal component"
    texts = [text.get_text() for text in plotting.plot_embedding(model, X, y).get_legend().get_texts()]
    assert texts == ["0", "1", "2", "mean of a cluster"]
    assert plotting.plot_loss(model).get_ylabel().startswith("instance discrimination")


def test_what_losses_are_called():
    machine, persistent = TensorizedRBM(gibbs_steps=2), TensorizedRBM(persistent=True)
    assert "contrastive divergence, no measure of quality\nF(data) − F(after 2 Gibbs steps)" in machine._loss_name
    assert "persistent chains" in persistent._loss_name
    assert TensorizedVAE(reg=0.5)._loss_name == "negative evidence lower bound of a sample, nats"
    assert TensorizedVAE()._loss_name.startswith("−log p(x | z) + 4 KL divergence")
    assert DeepDivergenceClustering()._loss_name.startswith("Cauchy–Schwarz divergences")
    assert TensorizedContrastive()._loss_name.startswith("triplet loss")


def test_bad_classes_are_named(triangle):
    X, y, model = triangle
    with pytest.raises(ValueError, match=r"y has shape \(89,\).*\(90,\)"):
        plotting.plot_embedding(model, X, y[1:])
    with pytest.raises(ValueError, match="names has 2 entries; expected one for each of the 3 classes"):
        plotting.plot_embedding(model, X, y, names=["a", "b"])


def test_nothing_global_is_touched_and_own_axes_are_used(triangle):
    X, y, model = triangle
    fig = plotting.new_figure(4, 3)
    ax = fig.add_subplot()
    assert plotting.plot_embedding(model, X, y, ax) is ax
    assert plotting.plot_reconstruction(model, X, fig=fig) is fig
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_a_figure_is_written_atomically(triangle, tmp_path, monkeypatch):
    _, _, model = triangle
    fig = plotting.plot_loss(model).figure
    for suffix, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        plotting.save_figure(fig, tmp_path / f"a.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes().startswith(magic)

    def fails(*args, **kwargs):
        raise OSError("no")

    monkeypatch.setattr(fig, "savefig", fails)
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(OSError, match="no"):
        plotting.save_figure(fig, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before


def test_without_matplotlib_it_says_what_to_install(triangle, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'csrl_core\[plot\]'"):
        plotting.plot_loss(triangle[2])
