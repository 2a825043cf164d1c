"""Training steps on the workers that hold the samples: each adds up its part of a batch, and the client the parts.

A batch is cut along the same permutation as on one machine, and random numbers are functions of a sample's row and the
step, so workers draw the same. Its rows fall into *shares*: consecutive partitions, about `placement.ROWS` rows of a
batch in each, so that their number depends on the partitions and the batch size alone. A worker computes one share
after the other and adds up gradients of neighbours along a fixed binary tree; what it cannot add, since another worker
has the neighbour, the client does. So results do not depend on how many workers there are, or on which has what.

Parameters, optimizer, assignment, centres, checkpoints stay with the client.
"""

import time
from contextlib import contextmanager
from itertools import pairwise

import cloudpickle
import numpy as np
from distributed import wait

from csrl_core.training.dask import cluster, placement
from csrl_core.training.dask.samples import DaskSamples, unwrapped
from csrl_core.training.dask.share import CLUSTERS, Holder, Job, Point, Sums, added_up
from csrl_core.training.joint import JointAssignment
from csrl_core.training.loop import Trainer
from csrl_core.training.run import Batch

TRIES = 4  # how often a step is begun because workers have gone
PATIENCE = 50  # tenths of a second until the scheduler has noticed that a worker has gone
LOOK = 5.0  # seconds of a step after which one looks whether its workers are there


def applies(objective, data):
    """Whether the loss of a batch is a sum over its samples, and these are on workers, target and all."""
    if not isinstance(objective, JointAssignment) or objective.model.couples_batch or objective.model.minimise:
        return False
    X, target = (unwrapped(array)[0] for array in (data.X, data.target))
    return isinstance(X, DaskSamples) and isinstance(target, DaskSamples) and np.array_equal(X.ends, target.ends)


class DaskTrainer(Trainer):
    """Trains as `Trainer` does, with steps on the workers of a Dask cluster."""

    def train(self, run, after_epoch=None):
        """As of `Trainer`. A model with state of its own is trained here, with rows that the workers send."""
        if self.objective.model_state(run):
            return super().train(run, after_epoch)
        self.stepper = Shares(self.objective, self.data, self.batch_size)
        try:
            with directly(self.stepper.client):
                return super().train(run, after_epoch)
        finally:
            self.stepper = self.objective

    def fused_epoch(self, run):
        """None: workers compute a step, not an epoch."""
        return super().fused_epoch(run) if self.stepper is self.objective else None

    def epoch(self, run):
        """As of `Trainer`."""
        if self.stepper is not self.objective:
            self.stepper.place()
        return super().epoch(run)

    def _batch(self, order, first, number):
        if self.stepper is self.objective:
            return super()._batch(order, first, number)
        rows, stop = order[first : first + self.batch_size], first + self.batch_size
        self.stepper.following = order[stop : stop + self.batch_size]
        return Batch(None, None, rows, self.data.weight[rows], number)  # its samples are where they are


@contextmanager
def directly(client):
    """Context in which the client speaks to its workers itself, and not through the scheduler, if it can reach them."""
    before = client.direct_to_workers
    client.direct_to_workers = True
    try:
        yield
    finally:
        client.direct_to_workers = before


class Shares:
    """The shares of a data set, and the `Holder` on every worker that holds some of them."""

    def __init__(self, objective, data, batch_size):
        (self.X, x), (self.target, t) = (unwrapped(array) for array in (data.X, data.target))
        self.client, self.objective = self.X.client, objective
        self.bounds = placement.share_bounds(self.X.ends - self.X.begins, batch_size)
        firsts, stops = np.array(self.bounds[:-1]), np.array(self.bounds[1:])
        self.begins, self.ends = self.X.begins[firsts], self.X.ends[stops - 1]
        self.same = data.target is data.X
        how = (self.X.dtype, x), (self.target.dtype, t)
        self.pickled = cloudpickle.dumps((objective.for_workers(), *how[: 1 if self.same else 2]))
        self.holders = []
        self.following = self.cut = None  # rows of the next batch, and the last (rows, how they are cut into shares)

    def __len__(self):
        return len(self.begins)

    # Placement

    def place(self):
        """Have a `Holder` on every worker that has samples, with about as many rows as on the others."""
        if self.holders and self._gone() is None:
            return
        owners, self.holders, futures = self._owners(), [], []
        for address in sorted(set(owners), key=str):
            numbers = [number for number, owner in enumerate(owners) if owner == address]
            futures.append(self._holder(address, numbers))
            self.holders.append((numbers, futures[-1]))

        actors = cluster.gather(self.client, futures)
        where = cluster.who_has(self.client, futures)
        self.holders = [
            (numbers, actor, next(iter(addresses), None))
            for (numbers, _), actor, addresses in zip(self.holders, actors, where, strict=True)
        ]
        self._reach()

    def _owners(self):
        """The address of a worker for each share, a list."""
        with cluster.lost_without(self.client):
            wait([*self.X.parts, *self.target.parts])
        where, lengths = cluster.who_has(self.client, self.X.parts), self.X.ends - self.X.begins
        held = []
        for first, stop in pairwise(self.bounds):
            rows = {}
            for part in range(first, stop):
                for address in where[part]:
                    rows[address] = rows.get(address, 0) + int(lengths[part])
            held.append(rows)
        return placement.owners_of_shares(held, (self.ends - self.begins).tolist())

    def _holder(self, address, numbers):
        sources = [self.X] if self.same else [self.X, self.target]
        shares = {
            number: (int(self.begins[number]), *(source.parts[slice(*self.bounds[number:][:2])] for source in sources))
            for number in numbers
        }
        options = {"workers": [address], "allow_other_workers": True} if address is not None else {}
        return cluster.submit(self.client, Holder, self.pickled, shares, len(self), actor=True, **options)

    def _reach(self):
        """Let the scheduler pass on what workers are sent, where they cannot be reached from here."""
        calls = [actor.ready() for _, actor, _ in self.holders]
        try:
            for call in calls:
                call.result(timeout=cluster.REACHED)
        except OSError:
            self.client.direct_to_workers = False

    def _gone(self):
        """The address of a worker that had a `Holder` and is no more, or None.

        Raises
        ------
        SamplesLostError
            The scheduler has gone.
        """
        with cluster.lost_without(self.client):
            there = self.client.nthreads()
        return next((address for *_, address in self.holders if address not in there), None)

    # Steps

    def step(self, run, batch):
        """As of `Objective`; begun anew where a worker has gone. batch : `Batch` without samples"""
        for tried in range(TRIES):
            try:
                sums, gradient = self._compute(run, batch)
                break
            except (OSError, RuntimeError, LookupError, ValueError):
                # Either a model's own error, or the worker has gone, which the scheduler may notice later than we
                if tried + 1 == TRIES or not self._lost_one():
                    raise
            self.holders = []
            self.place()
        state, number = run.state, batch.number if self.objective.running else 0
        state["assign"][batch.index] = sums.new
        for name, change in zip(CLUSTERS, sums.changes, strict=True):
            state[name] += change
        self.objective.backend.assign.means(state["sums"], state["totals"], state["centers"], number)
        return sums.loss_sum, sums.weight_sum, gradient, sums.moved

    def _lost_one(self):
        for _ in range(PATIENCE):
            if self._gone() is not None:
                return True
            time.sleep(0.1)
        return False

    def _compute(self, run, batch):
        """(`Sums`, gradient (p,)) of a batch, while whose sums come in workers gather rows of the next."""
        own, places = self._in_shares(batch.index)
        jobs = {
            number: Job(rows, batch.weight[at], run.state["assign"][batch.index[at]])
            for (number, rows), at in zip(own.items(), places, strict=True)
        }
        state = {name: array for name, array in run.state.items() if name != "assign"}
        point, sums, gradients = Point(run.params, state, run.restart, run.step, batch.number), {}, {}
        calls = [actor.step(point, part) for actor, part in self._for_holders(jobs)]
        if self.following is not None and len(self.following):
            for actor, rows in self._for_holders(self._in_shares(self.following)[0]):
                actor.gather(rows)
        for call in calls:
            part, added = self._result(call)
            sums |= part
            gradients = added_up(gradients | added, len(self))
        [gradient] = gradients.values()
        return joined([sums[number] for number in jobs], places, len(batch.index)), gradient

    def _for_holders(self, by_share):
        """Pairs (actor, dict of its shares) of a dict of share → anything."""
        for numbers, actor, _ in self.holders:
            yield actor, {number: by_share[number] for number in numbers if number in by_share}

    def _in_shares(self, rows):
        """(dict of share → rows within it, ascending; list of their places among the rows), in the order of the shares.

        rows : (b,) row numbers in the data
        """
        if self.cut is None or not np.array_equal(self.cut[0], rows):
            order = np.argsort(rows)
            numbers, firsts = np.unique(np.searchsorted(self.ends, rows[order], side="right"), return_index=True)
            places = np.split(order, firsts[1:])
            own = {n: rows[at] - self.begins[n] for n, at in zip(numbers.tolist(), places, strict=True)}
            self.cut = rows, own, places
        return self.cut[1:]

    def _result(self, call):
        """What a call of an actor returns; an error if its worker has gone."""
        while True:
            try:
                return call.result(timeout=LOOK)
            except TimeoutError:
                if call.done():
                    raise
                gone = self._gone()
                if gone is not None:
                    raise OSError(f"the Dask worker {gone} has gone") from None


def joined(parts, places, n):
    """The `Sums` of a batch of n rows, added up in the order of its parts. places : rows of each part"""
    new, changes = np.empty(n, np.int64), None
    for part, at in zip(parts, places, strict=True):
        new[at] = part.new
        changes = part.changes if changes is None else [a + b for a, b in zip(changes, part.changes, strict=True)]
    loss_sum, weight_sum, moved = (sum(getattr(part, name) for part in parts) for name in Sums._fields[:3])
    return Sums(loss_sum, weight_sum, moved, changes, new)
