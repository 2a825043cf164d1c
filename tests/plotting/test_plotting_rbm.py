"""Pictures of Boltzmann machines show the numbers they claim to show; how they look is for eyes."""

import sys
from itertools import pairwise

import numpy as np
import pytest

from csrl_core import TensorizedAutoencoder, TensorizedRBM, callbacks, plotting
from csrl_core.plotting import animation as module
from csrl_core.plotting.images import strongest_units
from csrl_core.plotting.samples import are_noise

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'csrl_core[plot]'")
H, W, K, M = 2, 3, 2, 5
RNG = np.random.default_rng(0)
X = (RNG.random((40, H * W)) < np.repeat([[0.1], [0.9]], 20, axis=0)).astype(float)


def make(**changes):
    arguments = {"n_clusters": K, "n_hidden": M, "epochs": 4, "batch_size": 10, "ais_chains": 5, "ais_betas": 5}
    arguments |= {"learning_rate": 0.1, "standing_epochs": 3}
    return TensorizedRBM(**arguments | {"random_state": 0, "backend": "numpy"} | changes)


@pytest.fixture(scope="module")
def model():
    fitted = make().fit(X)
    assert set(fitted.labels_) == {0, 1}
    return fitted


@pytest.fixture
def gif(tmp_path):
    return tmp_path / "filters.gif"


def tile(image, row, column):
    """One image of a mosaic."""
    return np.asarray(image)[row * (H + 1) :, column * (W + 1) :][:H, :W]


def frames_of(path):
    """All frames of an animation, (n, height, width, 3)."""
    from PIL import Image, ImageSequence

    with Image.open(path) as picture:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)])


# ----------------------------------------------------------------------------------------- still pictures


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (4, 2), (5, 3), (7, 3)])
def test_a_mosaic_holds_every_image_once(n, columns):
    images = RNG.random((n, H * W))
    whole = plotting.mosaic(images, (H, W))
    rows = -(-n // columns)
    assert whole.shape == (rows * (H + 1) - 1, columns * (W + 1) - 1)
    for i in range(n):
        np.testing.assert_array_equal(tile(whole, *divmod(i, columns)), images[i].reshape(H, W))
    assert np.isfinite(whole).sum() == n * H * W


def test_filters_are_the_weights_the_largest_first(model):
    fig = plotting.plot_filters(model, (H, W), n=3)
    weight = model.named_parameters()["weight"]
    panels = [ax for ax in fig.axes if ax.images and ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["cluster 0", "cluster 1"]
    for j, ax in enumerate(panels):
        order = np.argsort(-np.linalg.norm(weight[j], axis=0))
        for place, unit in enumerate(order[:3]):
            shown = tile(ax.images[0].get_array(), *divmod(place, 2))
            np.testing.assert_allclose(shown, weight[j, :, unit].reshape(H, W))
    limits = {ax.images[0].get_clim() for ax in panels}
    ((low, high),) = limits  # one scale for all
    assert low == -high < 0


def test_filters_of_one_machine_and_of_weights_that_are_zero():
    one = make(n_clusters=1, epochs=1).fit(X)
    one.params_ = np.zeros_like(one.params_)
    fig = plotting.plot_filters(one, (H, W), n=100)
    assert fig.axes[0].get_title() == "all samples"
    assert fig.axes[0].images[0].get_clim() == (-1, 1)
    assert np.isfinite(fig.axes[0].images[0].get_array()).sum() == M * H * W


def test_samples_of_a_machine_and_of_an_array(model):
    fig = plotting.plot_samples(model, (H, W), n=4, steps=3, random_state=7)
    for j, ax in enumerate(fig.axes):
        expected, _ = model.sample(4, cluster=j, steps=3, random_state=7)
        for i in range(4):
            np.testing.assert_array_equal(tile(ax.images[0].get_array(), *divmod(i, 2)), expected[i].reshape(H, W))
    fig = plotting.plot_samples(X, (H, W), n=4, labels=model.labels_)
    for j, ax in enumerate(fig.axes):
        first = X[model.labels_ == j][0]
        np.testing.assert_array_equal(tile(ax.images[0].get_array(), 0, 0), first.reshape(H, W))
    (ax,) = plotting.plot_samples(X[:3], (H, W)).axes
    assert ax.get_title() == "3 of 3"
    assert [ax.get_title() for ax in plotting.plot_samples(X, (H, W), 4, labels=model.labels_).axes] == [
        f"cluster {j}: 4 of {np.sum(model.labels_ == j)}" for j in range(K)
    ]


def test_samples_of_a_machine_that_has_learnt_nothing_are_said_to_be_noise():
    pattern = np.tile([0.0, 0.0, 0.0, 1.0], 10)  # far from coins that are tossed, as the tiny images above are not
    data = np.abs(np.repeat([pattern, 1 - pattern], 20, axis=0) - (RNG.random((40, 40)) < 0.05))
    machine = make(learning_rate=1e-9, epochs=1, assignment="cd", standing_epochs=2).fit(data)
    fig = plotting.plot_samples(machine, (4, 10), n=9, steps=2, random_state=0)
    assert [ax.get_title() for ax in fig.axes[:K]] == ["cluster 0: noise", "cluster 1: noise"]
    assert "learnt next to nothing" in fig.get_suptitle()
    assert not are_noise(data[:20], pattern).any()
    assert not are_noise(data, np.full(40, 0.5)).any()  # where the data are such coins nothing can be said


def test_samples_of_gaussian_units_and_of_more_clusters_than_fit_a_row():
    many = make(n_clusters=7, visible="gaussian", epochs=1).fit((X - X.mean()) / X.std())
    fig = plotting.plot_samples(many, (H, W), n=2, steps=1)
    assert [ax.get_title() for ax in fig.axes[:7]] == [f"cluster {j}" for j in range(7)]
    assert not any(ax.axison for ax in fig.axes)


def test_reconstructions_under_every_cluster(model):
    standard = make(n_clusters=1, epochs=1).fit(X)
    fig = plotting.plot_reconstructions(model, X[::8], (H, W), standard=standard)
    (ax,) = fig.axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["samples", "cluster 0", "cluster 1", "one for all"]
    assert "framed: by the sample's own cluster" in ax.get_title()
    shown, labels = ax.images[0].get_array(), model.predict(X[::8])
    own, one = model.reconstruct(X[::8]), standard.reconstruct(X[::8])
    for i, j in enumerate(labels):
        np.testing.assert_array_equal(tile(shown, 0, i), X[8 * i].reshape(H, W))
        np.testing.assert_allclose(tile(shown, 1 + j, i), own[i].reshape(H, W))
        np.testing.assert_allclose(tile(shown, 3, i), one[i].reshape(H, W))
    # One frame a sample, around its own cluster's reconstruction: x and y say which.
    framed = {(round(box.get_x() / (W + 1)), round(box.get_y() / (H + 1))) for box in ax.patches}
    assert framed == {(i, 1 + j) for i, j in enumerate(labels)}


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda m: plotting.plot_filters(m, (2, 2)), r"image_shape=\(2, 2\); expected \(height, width\).* = 6"),
        (lambda m: plotting.plot_filters(m, (6,)), r"image_shape=\(6,\)"),
        (lambda m: plotting.plot_filters(m, (-2, -3)), r"image_shape=\(-2, -3\)"),
        (lambda m: plotting.plot_filters(m, (2.0, 3)), r"image_shape=\(2.0, 3\)"),
        (lambda m: plotting.plot_filters(m, (H, W), n=0), "n=0; expected an int of at least 1"),
        (lambda m: plotting.plot_filters(make(), (H, W)), "TensorizedRBM that is not fitted; expected a fitted"),
        (lambda m: plotting.plot_samples(m, (3, 3)), r"image_shape=\(3, 3\)"),
        (lambda m: plotting.plot_samples(m, (H, W), n=-1), "n=-1; expected"),
        (lambda m: plotting.plot_samples(X[0], (H, W)), r"source has shape \(6,\); expected a fitted model that draws"),
        (lambda m: plotting.plot_samples(m), "image_shape is needed: 6 features make no square image"),
        (lambda m: plotting.plot_samples(X, (H, W), labels=[0]), r"labels has shape \(1,\).*\(40,\)"),
        (lambda m: plotting.plot_reconstructions(m, X, (1, 5)), r"image_shape=\(1, 5\)"),
    ],
)
def test_bad_arguments_are_named(model, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(model)


def test_an_autoencoder_has_no_filters():
    tae = TensorizedAutoencoder(epochs=1, backend="numpy", random_state=0).fit(X)
    with pytest.raises(ValueError, match="model is a TensorizedAutoencoder; expected a fitted Boltzmann machine"):
        plotting.plot_filters(tae, (H, W))


def test_a_figure_of_ones_own_is_drawn_into(model):
    fig = plotting.new_figure(4, 3)
    assert plotting.plot_filters(model, (H, W), fig=fig) is fig


# ------------------------------------------------------------------------------------------ the animation


def test_an_animation_has_a_frame_an_epoch(gif):
    animation = plotting.FilterAnimation(gif, (H, W), n=4)
    seen = []

    class Watch(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            seen.append(epoch.fitted().named_parameters()["weight"].copy())

    make().set_callbacks(animation, Watch()).fit(X)
    frames = frames_of(gif)
    assert len(frames) == len(seen) == 4
    assert all((one != other).any() for one, other in pairwise(frames))
    from PIL import Image

    with Image.open(gif) as picture:
        assert picture.info["loop"] == 0
        assert picture.info["duration"] == 200


def test_the_units_stay_and_the_colours_are_the_weights(gif):
    animation = plotting.FilterAnimation(gif, (H, W), n=2)
    recorded = []
    gif_of = animation._gif
    animation._gif = lambda frames: recorded.extend(frames) or gif_of(frames)
    weights = []

    class Watch(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            weights.append(epoch.fitted().named_parameters()["weight"].copy())

    make().set_callbacks(animation, Watch()).fit(X)
    units = strongest_units(weights[0], 2)
    for (_, _, filters), weight in zip(recorded, weights, strict=True):
        for j in range(K):
            np.testing.assert_array_equal(filters[j], weight[j].T[units[j]].astype(np.float32))


def test_every_so_many_epochs_and_the_last(gif):
    make(epochs=6).set_callbacks(plotting.FilterAnimation(gif, (H, W), every=4)).fit(X)
    assert len(frames_of(gif)) == 3  # epochs 1, 5 and 6


def test_an_animation_of_restarts_and_of_many_epochs_stays_small(gif, monkeypatch):
    monkeypatch.setattr(module, "_MOST_FRAMES", 5)
    animation = plotting.FilterAnimation(gif, (H, W), n=1)
    recorded = []
    monkeypatch.setattr(animation, "_gif", lambda frames: recorded.extend(frames) or b"GIF")
    make(epochs=7, n_init=3, n_clusters=1).set_callbacks(animation).fit(X)
    assert gif.read_bytes() == b"GIF"
    places = [(restart, epoch) for restart, epoch, _ in recorded]
    assert places == sorted(set(places))
    assert places[-1] == (2, 6)
    assert len(places) <= 6


def test_an_interrupted_fit_leaves_its_animation(gif):
    class Stop(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            if epoch.epoch == 2:
                raise KeyboardInterrupt

    animation = plotting.FilterAnimation(gif, (H, W))
    model = make(epochs=50).set_callbacks(animation, Stop())
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert len(frames_of(gif)) == 3
    assert [path.name for path in gif.parent.iterdir()] == ["filters.gif"]


def test_an_animation_does_not_change_the_fit(gif, model):
    watched = make().set_callbacks(plotting.FilterAnimation(gif, (H, W))).fit(X)
    np.testing.assert_array_equal(watched.params_, model.params_)


def test_what_would_fail_at_the_end_fails_before_the_first_epoch(gif, monkeypatch):
    with pytest.raises(ValueError, match=r"image_shape=\(3, 3\); expected .* = 6"):
        make().set_callbacks(plotting.FilterAnimation(gif, (3, 3))).fit(X)
    tae = TensorizedAutoencoder(backend="numpy").set_callbacks(plotting.FilterAnimation(gif, (H, W)))
    with pytest.raises(ValueError, match="is for Boltzmann machines; TensorizedAutoencoder has no filters"):
        tae.fit(X)
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'csrl_core\[plot\]'"):
        make().set_callbacks(plotting.FilterAnimation(gif, (H, W))).fit(X)
    assert not gif.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every=0; expected at least 1 epoch"),
        ({"n": 0}, "n=0; expected an int"),
        ({"seconds": 0}, "seconds=0; expected a positive"),
    ],
)
def test_bad_arguments_of_the_animation(gif, arguments, message):
    with pytest.raises(ValueError, match=message):
        plotting.FilterAnimation(gif, (H, W), **arguments)
