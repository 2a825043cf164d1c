"""Augmentation: what must come out exactly, SciPy as a second opinion, and what the random numbers are like."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from csrl_core.reference import augment, philox
from csrl_core.reference.augment import REPLICATED, ZEROS, Augmentation

DRAW = np.array([3, 4], np.uint32), 22, 5
ROWS = np.arange(4)


def _images(*shape, dtype=np.float64):
    return np.random.default_rng(shape).random(shape).astype(dtype)


def _augment(images, options, rows=ROWS):
    shape = images.shape[1:]
    return augment.augment(images.reshape(len(images), -1), shape, options, *DRAW, rows).reshape(images.shape)


def _uniforms(**chosen):
    """Uniforms of an image's own; 1/2 where none is given, which changes nothing."""
    u = np.full((1, augment.NUMBERS), 0.5)
    for place, value in chosen.items():
        u[0, int(place[1:])] = value
    return u


def _places(h, w, options, **chosen):
    return augment.affine_places(_uniforms(**chosen), h, w, options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("border", [ZEROS, REPLICATED])
def test_nothing_is_changed_at_strength_zero(dtype, border):
    images = _images(4, 2, 7, 6, dtype=dtype)
    np.testing.assert_array_equal(_augment(images, Augmentation(border=border)), images)
    np.testing.assert_array_equal(augment.warp(images, _identity(4, 7, 6).astype(dtype), border), images)


def _identity(n, h, w):
    return np.broadcast_to(np.indices((h, w), float), (n, 2, h, w))


@pytest.mark.parametrize("shift", [(2, -3), (-6, 0), (0, 9)])
def test_whole_shifts_are_exact(shift):
    images = _images(1, 2, 7, 6)
    options = Augmentation(shift=10.0)
    places = _places(7, 6, options, u0=shift[0] / 20 + 0.5, u1=shift[1] / 20 + 0.5)
    padded = np.pad(images, [(0, 0), (0, 0), (10, 10), (10, 10)])
    expected = padded[:, :, 10 + shift[0] : 17 + shift[0], 10 + shift[1] : 16 + shift[1]]
    np.testing.assert_allclose(augment.warp(images, places, ZEROS), expected, atol=1e-14)
    edges = np.pad(images, [(0, 0), (0, 0), (10, 10), (10, 10)], mode="edge")
    expected = edges[:, :, 10 + shift[0] : 17 + shift[0], 10 + shift[1] : 16 + shift[1]]
    np.testing.assert_allclose(augment.warp(images, places, REPLICATED), expected, atol=1e-14)


def test_a_quarter_turn_is_exact():
    images = _images(1, 2, 7, 7)
    places = _places(7, 7, Augmentation(rotation=180.0), u2=0.75)
    np.testing.assert_allclose(augment.warp(images, places, ZEROS), np.rot90(images, -1, (2, 3)), atol=1e-13)


def test_scales_keep_the_centre_and_move_the_rest():
    places = _places(5, 5, Augmentation(scale=np.log(2)), u4=1.0, u5=0.0)[0]
    np.testing.assert_allclose(places[0], np.repeat([[-2], [0], [2], [4], [6]], 5, axis=1), atol=1e-14)
    np.testing.assert_allclose(places[1], np.repeat([[1, 1.5, 2, 2.5, 3]], 5, axis=0), atol=1e-14)


@pytest.mark.parametrize(("border", "mode"), [(ZEROS, "grid-constant"), (REPLICATED, "nearest")])
def test_interpolation_is_that_of_scipy(border, mode):
    images, places = _images(3, 2, 8, 11), np.random.default_rng(0).uniform(-4, 14, (3, 2, 8, 11))
    got = augment.warp(images, places, border)
    for i in range(3):
        for channel in range(2):
            expected = map_coordinates(images[i, channel], places[i], order=1, mode=mode)
            np.testing.assert_allclose(got[i, channel], expected, atol=1e-13)


@pytest.mark.parametrize(("h", "w", "sigma"), [(28, 28, 5.0), (9, 14, 1.3), (5, 3, 4.0), (6, 6, 0.0)])
def test_the_field_is_smoothed_as_scipy_does(h, w, sigma):
    options = Augmentation(elastic=3.0, smoothing=sigma)
    D = augment.displacement(np.dtype(float), h, w, options, *DRAW, ROWS)
    width = -(-2 * h * w // 4) * 4
    u = philox.uniform(*DRAW, 1, ROWS, width, float)[:, : 2 * h * w].reshape(4, 2, h, w)
    for i in range(4):
        for axis in range(2):
            field = 2 * u[i, axis] - 1
            smooth = gaussian_filter(field, sigma, mode="constant", truncate=4) if sigma else field
            np.testing.assert_allclose(D[i, axis], 3 * smooth, atol=1e-13)


def test_a_sample_has_the_same_image_in_every_batch():
    images = _images(9, 1, 8, 8)
    rows, options = np.array([7, 0, 3, 12, 5, 8, 2, 9, 1]), Augmentation(2.0, 20.0, 0.2, 6.0, 1.5, 0.3, 3, REPLICATED)
    together = _augment(images, options, rows)
    order = np.array([4, 1, 7])
    np.testing.assert_array_equal(_augment(images[order], options, rows[order]), together[order])
    np.testing.assert_array_equal(_augment(images[:1], options, rows[:1]), together[:1])
    other = augment.augment(images.reshape(9, -1), (1, 8, 8), options, DRAW[0], DRAW[1], 6, rows)
    assert np.abs(other.reshape(together.shape) - together).max(axis=(1, 2, 3)).min() > 0.1


def test_numbers_are_spread_as_they_should_be():
    n = 20_000
    options = Augmentation(shift=2.0, rotation=15.0, scale=0.1)
    places = augment.affine_places(philox.uniform(*DRAW, 0, np.arange(n), 12, float), 3, 3, options)
    # The centre moves by the shift alone; the pixels beside it tell rotation and scale.
    centre = places[:, :, 1, 1]
    assert np.abs(centre - 1).max() <= 2
    np.testing.assert_allclose(centre.mean(axis=0), 1, atol=4 * 2 / np.sqrt(3 * n))
    np.testing.assert_allclose(centre.var(axis=0), 4 / 3, rtol=0.03)
    down, right = places[:, :, 2, 1] - centre, places[:, :, 1, 2] - centre
    factors = np.stack([np.hypot(down[:, 0], right[:, 0]), np.hypot(down[:, 1], right[:, 1])])
    assert np.abs(np.log(factors)).max() <= 0.1 + 1e-12
    np.testing.assert_allclose(np.log(factors).var(axis=1), 0.01 / 3, rtol=0.03)
    angle = np.rad2deg(np.arctan2(-right[:, 0] / factors[0], down[:, 0] / factors[0]))
    assert np.abs(angle).max() <= 15 + 1e-9
    assert abs(angle.mean()) < 0.4
    assert angle.var() == pytest.approx(75, rel=0.03)
    # Different numbers of an image have nothing to do with each other.
    several = np.stack([*centre.T, angle, *np.log(factors)])
    assert np.abs(np.corrcoef(several) - np.eye(5)).max() < 0.03


def test_the_field_has_the_deviation_of_a_smoothed_field():
    D = augment.displacement(np.dtype(float), 41, 41, Augmentation(elastic=42.0, smoothing=5.0), *DRAW, np.arange(300))
    g = augment.gaussian(41, 5.0)[20]
    assert abs(D[:, :, 20, 20].mean()) < 0.3
    assert D[:, :, 20, 20].std() == pytest.approx(42 * (g @ g) / np.sqrt(3), rel=0.1)


def test_noise_is_normal():
    X = augment.augment(np.ones((500, 40)), (40, 1, 1), Augmentation(noise=0.5), *DRAW, np.arange(500))
    assert X.mean() == pytest.approx(1, abs=0.02)
    assert X.std() == pytest.approx(0.5, rel=0.02)


def test_rectangles_have_whole_edges_within_the_image():
    images = np.ones((3000, 2, 8, 6))
    kept = _augment(images, Augmentation(erase=4), np.arange(3000))
    assert set(np.unique(kept)) == {0, 1}
    sides = []
    for image in kept:
        np.testing.assert_array_equal(image[0], image[1])
        y, x = np.nonzero(image[0] == 0)
        height, width = (np.ptp(y) + 1, np.ptp(x) + 1) if len(y) else (0, 0)
        assert (image[0] == 0).sum() == height * width
        sides.append((height, width))
    sides = np.array(sides)
    assert sides.max() == 4
    assert (sides[:, 0] == 0).mean() == pytest.approx(9 / 25, abs=0.04)  # a side of none leaves no rectangle
    # Every pixel can be part of one, those in the middle more often.
    assert (kept == 0).mean(axis=0).min() > 0.02


def test_a_rectangle_larger_than_the_image_is_the_image():
    kept = _augment(np.ones((200, 1, 3, 2)), Augmentation(erase=9), np.arange(200))
    assert (kept.sum(axis=(1, 2, 3)) == 0).any()
