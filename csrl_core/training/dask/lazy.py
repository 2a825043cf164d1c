"""The rows of a Dask collection, and what a function of rows makes of them: a Dask array that is yet to be computed."""

from uuid import uuid4

import numpy as np

from csrl_core.training.dask import cluster, frame_of, is_collection, is_frame, partitions, worker


class LazyRows:
    """The rows of a Dask array or data frame, of which nothing is computed here.

    X : Dask array (n, d) or data frame; name : of the argument, for messages

    Raises
    ------
    ValueError, TypeError
        As `csrl_core.training.dask.partitions.opened`, of what can be told without computing.
    """

    def __init__(self, X, name):
        (partitions.check_frame if is_frame(X) else partitions.check_dask_array)(X, name)
        client = cluster.current()
        if client is not None:
            cluster.check_workers(client)
        self.name, self.frame = name, frame_of(X) if is_frame(X) else None
        self.array = partitions.in_one_chunk(X, name) if self.frame is None else partitions.array_of(X, name)

    @property
    def dtype(self):
        """The dtype in which they are computed with, float32 or float64."""
        return partitions.float_dtype(self.array.dtype)

    def sample(self):
        """One row of zeros, an array or a data frame like a partition."""
        row = np.zeros((1, self.array.shape[1]), self.array.dtype)
        return row if self.frame is None else type(self.frame)(row, columns=self.frame.columns)

    def mapped(self, sample, function, beside, numbered):
        """``function(rows, first, others)`` of every partition, as a Dask array.

        sample : array (1, …) as the function gives it of one row; beside : dict of name → array (n, …)
        numbered : bool, whether the function needs ``first``, the number of the first row, even if that must be counted
        """
        import dask.array as da
        from dask import delayed

        array, shape = self.array, sample.shape[1:]
        one = OfPartition(function, self.name, list(beside), sample[:0], array)
        one = delayed(one, name=f"model-{uuid4()}", traverse=False)  # one entry of the graph, whatever the partitions
        arguments = [(one, None), (array, ("row", "column")), (self._places(numbered), ("row", "place"))]
        for name, values in beside.items():
            values = self._beside(values, name)
            arguments.append((values, ("row", *(f"{name} {axis}" for axis in range(1, values.ndim)))))
        new_axes = {f"axis {axis}": length for axis, length in enumerate(shape, 1)}
        return da.blockwise(
            _answered,
            ("row", *new_axes),
            *(part for pair in arguments for part in pair),
            new_axes=new_axes,
            align_arrays=False,
            dtype=sample.dtype,
            meta=sample[:0],
        )

    def _places(self, numbered):
        """Number of every partition and of its first row, −1 where that is not known, a Dask array (partitions, 2)."""
        import dask.array as da

        lengths, numbers = self.array.chunks[0], np.arange(self.array.numblocks[0])
        if not np.isnan(lengths).any():
            begins = np.cumsum([0, *lengths[:-1]])
        elif not numbered:
            begins = np.full(len(numbers), -1)
        else:
            counts = da.blockwise(
                *(_counted, "i", self.array, "ij"), adjust_chunks={"i": lambda length: 1}, dtype=np.int64
            )
            begins = da.cumsum(counts, axis=0) - counts
            return da.stack([da.from_array(numbers, chunks=1), begins], axis=1).rechunk((1, 2))
        return da.from_array(np.stack([numbers, begins], axis=1), chunks=(1, 2))

    def _beside(self, values, name):
        """What a function takes beside the rows, as a Dask array with the same chunks along them."""
        import dask.array as da

        lengths = self.array.chunks[0]
        if is_collection(values):
            values = values if hasattr(values, "chunks") else values.to_dask_array()
        elif np.isnan(lengths).any():
            raise ValueError(
                f"{self.name} has partitions of unknown length, so that an array as {name} cannot be cut along them; "
                f"compute_chunk_sizes() before, or a Dask array with the same partitions"
            )
        else:
            values = da.from_array(np.asarray(values), chunks=-1)
        unknown = np.isnan([*lengths, *values.chunks[0]]).any()
        if len(values) != len(self.array) if not unknown else values.numblocks[0] != len(lengths):
            raise ValueError(f"{name} has shape {values.shape}, {self.name} has shape {self.array.shape}")
        return values.rechunk(dict.fromkeys(range(1, values.ndim), -1) | ({} if unknown else {0: lengths}))


class OfPartition:
    """What a worker does with a partition: check it, and answer.

    function, name : as of `LazyRows`; beside : names; empty : array (0, …), the answer to no rows
    like : array with dtype and columns of the rows
    """

    def __init__(self, function, name, beside, empty, like):
        self.function, self.name, self.beside, self.empty = function, name, beside, empty
        self.dtype, self.d = like.dtype, like.shape[1]

    def __call__(self, rows, place, *beside):
        """The answer to a partition. place : (1, 2) int64, number of the partition, and of its first row or −1"""
        number, begin = place[0].tolist()
        found = worker.look_at(rows)
        partitions.check_partition(found, number, self.name, None if begin < 0 else begin)
        if found.shape[1] != self.d:
            raise ValueError(f"partition {number} of {self.name} has {found.shape[1]} columns; expected {self.d}")
        if not len(rows):
            return self.empty
        try:
            others = dict(zip(self.beside, beside, strict=True))
            return self.function(np.asarray(rows, self.dtype), max(begin, 0), others)
        except ValueError as error:
            raise ValueError(f"partition {number} of {self.name}: {error}") from error


def _answered(one, *blocks):
    return one(*map(_alone, blocks))


def _counted(rows):
    return np.array([len(_alone(rows))])


def _alone(block):
    """The block of a list of lists of one."""
    while isinstance(block, list):
        [block] = block
    return block
