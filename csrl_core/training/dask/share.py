"""A worker's part of training steps: a `Holder` has shares of the samples, and adds up their parts of a batch."""

import pickle
from typing import NamedTuple

import numpy as np

from csrl_core.training.dask import worker
from csrl_core.training.run import Batch, Run


class Point(NamedTuple):
    """Where a run stands, as a step needs it.

    params : (p,); state : arrays by name, without the assignment; restart, step : as of `Run`; number : of the batch
    """

    params: np.ndarray
    state: dict
    restart: int
    step: int
    number: int


class Job(NamedTuple):
    """A share's part of a batch: (b,) ascending row numbers within the share, weights, and the assignment so far."""

    rows: np.ndarray
    weight: np.ndarray
    known: np.ndarray


class Sums(NamedTuple):
    """What a step adds up over a share's part of a batch, or over all of it; new : (b,) the new assignment.

    changes : of the clusters' sums (k, d), totals (k,) and counts (k,); moved : int, samples that changed clusters
    """

    loss_sum: float
    weight_sum: float
    moved: int
    changes: tuple
    new: np.ndarray


AHEAD = 2**26  # bytes of the next batch's rows above which a worker gathers no more of them
CLUSTERS = ("sums", "totals", "counts")  # arrays of a run's state that a step changes by its samples


class Share:
    """The partitions of a share, on a worker.

    begin : int, number of its first row in the data; parts : arrays; dtype, functions : as of `worker.rows_of`
    """

    def __init__(self, begin, parts, dtype, functions):
        self.begin, self.parts, self.dtype, self.functions = begin, parts, dtype, functions
        self.ends = np.cumsum([len(part) for part in parts])

    def take(self, rows):
        """Rows (b, d), a new array. rows : (b,), ascending numbers within the share"""
        array = np.empty((len(rows), self.parts[0].shape[1]), self.dtype)
        stops = np.searchsorted(rows, self.ends).tolist()
        for part, end, first, stop in zip(self.parts, self.ends, [0, *stops], stops, strict=False):
            if first < stop:
                worker.take_into(array[first:stop], part, rows[first:stop] - (end - len(part)))
        for function in self.functions:
            array = function(array)
        return array


class Holder:
    """An actor of Dask: the shares of one worker.

    pickled : (objective, how X's rows are read, how those of the target if it is another), as `worker.rows_of` says it
    shares : dict of number → (number of its first row, partitions of X, partitions of the target, none if that is X)
    count : int, shares of all workers
    """

    def __init__(self, pickled, shares, count):
        worker.keep_freed_memory()
        self.objective, *how = pickle.loads(pickled)
        self.count, self.threads = count, worker.number_of_threads()
        self.gathered = {}  # of shares: (rows, what `take` gives of each of its sources)
        self.shares = {
            number: [Share(begin, parts, *own) for parts, own in zip(sources, how, strict=True)]
            for number, (begin, *sources) in shares.items()
        }

    def ready(self):
        """True: it can be reached."""
        return True

    def gather(self, rows):
        """Take rows of the next batch, as far as there is room, while others still compute or the client does.

        rows : dict of share → (b,) ascending row numbers within it
        """
        self.gathered, room = {}, AHEAD
        for number, own in rows.items():
            arrays = [source.take(own) for source in self.shares[number]]
            self.gathered[number] = own, arrays
            room -= sum(array.nbytes for array in arrays)
            if room <= 0:
                break

    def step(self, point, jobs):
        """Evaluate the parts of a batch.

        point : `Point`; jobs : dict of share → `Job`
        returns (dict of share → `Sums`, gradients as `added_up` leaves them)
        """
        sums, gradients = {}, {(0, number): None for number in self.shares}
        with worker.threads(self.objective.backend, self.threads):
            for number, job in jobs.items():
                sums[number], gradients[0, number] = self._of_share(point, number, job)
            return sums, added_up(gradients, self.count)

    def taken(self, number, rows):
        """Rows of a share's sources, gathered before if it was these."""
        known, arrays = self.gathered.pop(number, (None, None))
        return arrays if np.array_equal(known, rows) else [source.take(rows) for source in self.shares[number]]

    def _of_share(self, point, number, job):
        """(`Sums`, gradient (p,)): a step of the objective, as on one machine, on copies of the arrays it changes."""
        X, *other = self.taken(number, job.rows)
        target, state = other[0] if other else X, point.state | {"assign": job.known.copy()}
        state |= {name: state[name].copy() for name in (*CLUSTERS, "centers")}
        run = Run(point.params, state, point.restart, moments=np.empty(0), step=point.step)
        places = np.arange(len(X))
        batch = Batch(X, target, places, job.weight, point.number, job.rows + self.shares[number][0].begin)
        loss_sum, weight_sum, gradient, moved = self.objective.step(run, batch)
        changes = tuple(state[name] - point.state[name] for name in CLUSTERS)
        return Sums(loss_sum, weight_sum, moved, changes, state["assign"]), gradient


def added_up(gradients, count):
    """Add up neighbours along a binary tree, as far as both are known.

    The tree depends on ``count`` alone: number 2 i of a level and 2 i + 1 give number i of the next, and a last one
    without a neighbour is taken over as it is. So sums have the same bits, whoever adds which of them.

    gradients : dict of (level, number) → array, which may become a sum, or None for zero; count : numbers of level 0
    returns such a dict; with all gradients it has one entry
    """
    known, level = dict(gradients), 0
    while count > 1:
        for left in range(0, count, 2):
            pair = [(level, number) for number in range(left, min(left + 2, count))]
            if all(node in known for node in pair):
                arrays = [array for array in map(known.pop, pair) if array is not None]
                known[level + 1, left // 2] = _sum(*arrays) if arrays else None
        level, count = level + 1, -(-count // 2)
    return known


def _sum(a, b=None):
    """a + b, in a's memory if that can be; new memory costs more than the sum."""
    return a if b is None else np.add(a, b, out=a if a.flags.writeable else None)
