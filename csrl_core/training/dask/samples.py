"""The samples of a Dask collection: they stay on the workers that hold them, and rows are fetched when needed."""

import cloudpickle
import numpy as np

from csrl_core.training import sample_files
from csrl_core.training.dask import cluster, worker
from csrl_core.training.on_disk import ChangedSamples, Samples

WINDOW = 16  # most partitions that one task passes over


class DaskSamples(Samples):
    """The samples of partitions, one partition after the other. A row's values are real and finite.

    Of few samples there is a copy in this process as well, which all but training steps use.

    client : `distributed.Client`; parts : futures of arrays (m, d), one a partition; lengths : their numbers of rows
    d : int, columns; dtype : of the arrays that are read; frame : as of `Samples`
    """

    def __init__(self, client, parts, lengths, d, dtype, frame=None):
        self.client, self.parts, self.dtype, self.frame = client, parts, np.dtype(dtype), frame
        self.ends = np.cumsum(lengths, dtype=np.int64)
        self.begins = self.ends - np.asarray(lengths, np.int64)
        self.shape = int(self.ends[-1]), d
        self.copy = self._groups = None
        if self.nbytes <= sample_files.KEPT:
            self.copy = self._fetched(range(len(self)))

    def __getstate__(self):  # a worker has no use for the other partitions
        return vars(self) | dict.fromkeys(("client", "parts", "copy"))

    def _rows(self, numbers):
        if self.copy is None:
            return self._fetched(numbers)
        return (
            self.copy[slice(numbers.start, numbers.stop)].copy() if isinstance(numbers, range) else self.copy[numbers]
        )

    def _fetched(self, numbers):
        array = np.empty((len(numbers), self.shape[1]), self.dtype)
        places, futures = [], []
        for number, where, rows in self.in_parts(numbers):
            places.append(where)
            futures.append(cluster.submit(self.client, worker.take, self.parts[number], rows))
        for where, rows in zip(places, cluster.gather(self.client, futures), strict=True):
            array[where] = rows
        return array

    on_workers = True

    @property
    def elsewhere(self):
        """Whether there is no copy here."""
        return self.copy is None

    def map(self, function, *beside):
        """As `Samples.map`, with the blocks of each partition, computed by the worker that holds it."""
        if not self.elsewhere:
            yield from super().map(function, *beside)
            return
        plain, given = [], []  # for every array beside: what is sent or held, and the functions that change it
        for array in beside:
            base, functions = unwrapped(array)
            held = isinstance(base, DaskSamples) and np.array_equal(base.ends, self.ends)
            plain.append(base if held else array)
            given.append((base.dtype, functions) if held else None)
        function = cloudpickle.dumps(worker.Pass(function, given))
        futures, done = [], {}
        for group in self.groups():
            rows = [slice(int(self.begins[number]), int(self.ends[number])) for number in group]
            others = [
                [
                    array.parts[number] if held is not None else array[own]
                    for array, held in zip(plain, given, strict=True)
                ]
                for number, own in zip(group, rows, strict=True)
            ]
            parts = [self.parts[number] for number in group]
            futures.append(cluster.submit(self.client, worker.passed, function, parts, self.dtype, others))
        for results, group in zip(cluster.gather(self.client, futures), self.groups(), strict=True):
            done |= dict(zip(group, results, strict=True))
        for number in sorted(done):
            yield from done.pop(number)

    def groups(self):
        """Lists of partitions, about WINDOW on the same worker in each; those without rows are in none."""
        if self._groups is None:
            where, by_worker, loads = cluster.who_has(self.client, self.parts), {}, {}
            for number in np.flatnonzero(self.ends > self.begins).tolist():
                address = min(where[number], key=lambda holder: loads.get(holder, 0), default="")
                loads[address] = loads.get(address, 0) + int(self.ends[number] - self.begins[number])
                by_worker.setdefault(address, []).append(number)
            self._groups = [
                own[first : first + WINDOW] for own in by_worker.values() for first in range(0, len(own), WINDOW)
            ]
        return self._groups

    def in_parts(self, numbers):
        """Triples (partition, places among the numbers, rows within the partition) of the partitions concerned.

        numbers : range with step 1, or (b,) int64
        """
        if isinstance(numbers, range):
            for number in np.flatnonzero((self.ends > numbers.start) & (self.begins < numbers.stop)).tolist():
                begin = int(self.begins[number])
                first, stop = max(numbers.start, begin), min(numbers.stop, int(self.ends[number]))
                if stop > first:
                    yield number, slice(first - numbers.start, stop - numbers.start), slice(first - begin, stop - begin)
            return
        part_of = np.searchsorted(self.ends, numbers, side="right")
        order = np.argsort(part_of, kind="stable")
        concerned, firsts = np.unique(part_of[order], return_index=True)
        for number, places in zip(concerned.tolist(), np.split(order, firsts[1:]), strict=True):
            yield number, places, numbers[places] - self.begins[number]


def unwrapped(X):
    """(what X is of, functions that change its rows, in their order)."""
    functions = []
    while isinstance(X, ChangedSamples):
        functions.append(X.function)
        X = X.of
    return X, functions[::-1]
