"""Draws of images from a data set, some of every class to train on and others to test with."""

import numpy as np

from csrl_core import datasets

PIXEL = 255.0


def draw_images(data, classes, seed, train, test):
    """Images with values in [0, 1] and their classes: ((X, y) for training, (X, y) for the test), in random order.

    data : name of a set of `csrl_core.datasets`; train, test : int, images of every class
    """
    source, rng = datasets.load(data), np.random.default_rng(seed)
    parts = [], []
    for code in classes:
        members = rng.permutation(np.flatnonzero(source.target == code))[: train + test]
        parts[0].append(members[:train])
        parts[1].append(members[train:])
    X, orders = source.data / np.float32(PIXEL), [rng.permutation(np.concatenate(part)) for part in parts]
    return tuple((X[order].astype(np.float32), source.target[order]) for order in orders)
