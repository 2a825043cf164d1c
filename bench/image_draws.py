"""What benchmarks of quality on images share: the images, draws of some of every class, and options ``NAME=VALUE``."""

import ast

import numpy as np

from csrl_core import datasets


def images(name):
    """(X (n, 784) float32 in [0, 1], y (n,)). name : a set of images of `csrl_core.datasets`, or its folder's name"""
    source = datasets.load(name.replace("-", "_"), dtype=np.float32)
    return source.data / np.float32(255), source.target


def draw(X, y, classes, seed, n_train, n_test):
    """(training images, their classes, test images, their classes). n_train, n_test : int, of every class"""
    random, train, test = np.random.default_rng(seed), [], []
    for c in classes:
        order = random.permutation(np.flatnonzero(y == c))
        train.append(order[:n_train])
        test.append(order[n_train : n_train + n_test])
    train, test = random.permutation(np.concatenate(train)), np.concatenate(test)
    return X[train], y[train], X[test], y[test]


def draw_unequal(X, y, classes, seed, sizes):
    """What `draw` returns. sizes : for each class, in random order, its images for training, and as many for testing"""
    random, train, test = np.random.default_rng(seed), [], []
    for c, size in zip(random.permutation(classes), sizes, strict=True):
        order = random.permutation(np.flatnonzero(y == c))
        train.append(order[:size])
        test.append(order[size : 2 * size])
    train, test = random.permutation(np.concatenate(train)), np.concatenate(test)
    return X[train], y[train], X[test], y[test]


def argument(text):
    """(name, value) of ``NAME=VALUE``; a value that is no Python literal is text."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
