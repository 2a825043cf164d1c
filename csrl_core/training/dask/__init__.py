"""Samples on the workers of a Dask cluster; dask.distributed is imported only where someone passes a collection.

`partitions` opens a Dask array or data frame as `samples.DaskSamples`, whose partitions stay on the workers that hold
them; `worker` is what workers compute, `steps` how a fit puts it together, `placement` which of them computes
what, `cluster` whose workers they are. `lazy` makes Dask arrays of what a fitted model answers.
"""

import sys


def is_collection(X):
    """Whether X is a Dask array, data frame or series, or another of Dask's collections."""
    return "dask" in sys.modules and type(X).__module__.split(".")[0].startswith("dask") and is_lazy(X)


def is_lazy(X):
    """Whether X is something that Dask has yet to compute."""
    return callable(getattr(X, "__dask_graph__", None))


def is_frame(X):
    """Whether X is a Dask data frame."""
    return is_collection(X) and type(X).__name__ == "DataFrame"  # a Delayed has every attribute


def frame_of(X):
    """The empty data frame that has the columns of a Dask data frame; X itself if it is anything else."""
    if not is_frame(X):
        return X
    from dask.dataframe.dispatch import make_meta

    return make_meta(X)


def counted(n, what):
    """A number of things as text: "1 worker", "2 workers"."""
    return f"{n} {what}{'s' * (n != 1)}"


def computed(array):
    """What a Dask collection holds, in memory; anything else as it is."""
    return array.compute() if is_collection(array) else array
