"""Which partitions are a share, and which worker computes it."""

import numpy as np

ROWS = 1024  # of a batch in a share: fewer do not pay for the gradient that is sent and added
UNEVEN = 1.05  # how much more than otherwise the busiest worker may have where shares are neighbours
FARTHER = 0.125  # of all rows: how many more than otherwise may be fetched for that


def share_bounds(lengths, batch_size):
    """First partition of every share, and the number of partitions: a list.

    lengths : rows of the partitions
    """
    ends, wanted = np.cumsum(lengths), max(1, batch_size // ROWS)
    goals = ends[-1] * np.arange(1, wanted) / wanted
    inner = np.searchsorted(ends, goals, side="left") + 1
    return np.unique([0, *np.minimum(inner, len(lengths)), len(lengths)]).tolist()


def owners_of_shares(held, rows):
    """The address of a worker for each share, a list; None where no worker holds any of its rows.

    Neighbours to one worker, since it then sends one gradient for all of them, unless that takes much more fetching
    or leaves one worker with more rows than need be.

    held : for every share a dict of address → rows of it there; rows : of the shares
    """
    where_they_are, runs = balanced(held, rows), neighbours(held, rows)
    if most_rows(runs, rows) > UNEVEN * most_rows(where_they_are, rows):
        return where_they_are
    more = rows_fetched(runs, held, rows) - rows_fetched(where_they_are, held, rows)
    return runs if more <= FARTHER * sum(rows) else where_they_are


def neighbours(held, rows):
    """As `owners_of_shares`: runs with about as many rows, to workers in the order in which they hold rows."""
    places = {}  # of a worker's rows: their sum, their number
    for place, found in enumerate(held):
        for address, n in found.items():
            before = places.get(address, (0, 0))
            places[address] = before[0] + place * n, before[1] + n
    workers = sorted(places, key=lambda address: (places[address][0] / max(1, places[address][1]), address))
    if not workers:
        return [None] * len(rows)
    middles = np.cumsum(rows) - np.asarray(rows) / 2
    return [workers[min(int(len(workers) * middle / sum(rows)), len(workers) - 1)] for middle in middles.tolist()]


def balanced(held, rows):
    """As `owners_of_shares`: a share goes to the worker that holds most of it.

    But from one that has more rows than another it goes to that one, as long as the larger number becomes smaller:
    a step takes as long as the busiest worker.
    """
    loads, owners = {address: 0 for found in held for address in sorted(found)}, []
    for found, n in zip(held, rows, strict=True):
        most = max(found.values(), default=0)
        owners.append(min(sorted(a for a in found if found[a] == most), key=loads.get, default=None))
        if found:
            loads[owners[-1]] += n
    while loads:
        busiest, idlest = max(loads, key=loads.get), min(loads, key=loads.get)
        movable = [i for i, a in enumerate(owners) if a == busiest and 0 < rows[i] < loads[busiest] - loads[idlest]]
        if not movable:
            break
        moved = movable[-1]
        owners[moved] = idlest
        loads[busiest] -= rows[moved]
        loads[idlest] += rows[moved]
    return owners


def most_rows(owners, rows):
    """Most rows of one worker."""
    return max(sum(n for n, owner in zip(rows, owners, strict=True) if owner == one) for one in set(owners))


def rows_fetched(owners, held, rows):
    """Rows that their owners do not hold."""
    return sum(n - found.get(owner, 0) for owner, found, n in zip(owners, held, rows, strict=True))
