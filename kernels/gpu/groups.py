"""Rows sorted by cluster: the groups that have parameters in common, and their shares of a part of the rows."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ._platform.launch import xp


@dataclass(frozen=True)
class Groups:
    """Rows of group j are begins[j] … begins[j + 1] − 1; ``begins`` is on the host, ``device`` its copy there."""

    begins: list
    device: object

    @classmethod
    def one(cls, n):
        """All n rows are one group."""
        return cls([0, n], xp.empty(1, np.int64))  # kernels do not read it

    @classmethod
    def of(cls, bounds):
        """Groups of a host array (k + 1,)."""
        begins = [int(bound) for bound in bounds]
        return cls.one(begins[-1]) if len(begins) == 2 else cls(begins, xp.asarray(np.array(begins, np.int64)))

    def __len__(self):
        return len(self.begins) - 1

    @property
    def n(self):
        """Rows of all groups."""
        return self.begins[-1]

    @property
    def tallest(self):
        """Rows of the largest group."""
        return max(stop - start for start, stop in pairwise(self.begins))

    @property
    def empty(self):
        """Groups without rows."""
        return [j for j, (start, stop) in enumerate(pairwise(self.begins)) if start == stop]

    def parts(self, most):
        """The rows in `Part`s of at most ``most``; of a group that is larger, a part has nothing else."""
        parts, start, shares = [], 0, []
        for j, (low, high) in enumerate(pairwise(self.begins)):
            for first in range(low, high, most):
                stop = min(first + most, high)
                if shares and stop - start > most:
                    parts.append(Part(start, shares))
                    start, shares = first, []
                shares.append((j, first - start, stop - start))
        return [*parts, Part(start, shares)] if shares else parts


@dataclass(frozen=True)
class Part:
    """Some rows side by side, from ``first`` on; shares : [(group, first row, stop), …], counted from ``first``."""

    first: int
    shares: list

    @property
    def height(self):
        """Rows of every share where these are equal and of neighbouring groups, as one batched product takes them."""
        heights = {stop - start for _, start, stop in self.shares}
        together = self.shares[-1][0] - self.shares[0][0] == len(self.shares) - 1
        return heights.pop() if len(self.shares) > 1 and len(heights) == 1 and together else 0

    def __len__(self):
        return self.shares[-1][2]

    @property
    def rows(self):
        """The part, as a slice of all rows."""
        return slice(self.first, self.first + len(self))

    def copies(self, W):
        """Copies of an array (groups, ·, ·) in the order of ``matrices`` and ``blocks``."""
        if self.height:
            return [W[self.shares[0][0] : self.shares[-1][0] + 1]]
        return [W[j] for j, _, _ in self.shares]

    def matrices(self, flat, height):
        """A matrix (height, ·) a share, of all shares' numbers side by side; one (shares, height, ·) if equal."""
        if self.height:
            return [flat.reshape(len(self.shares), height, -1)]
        each = flat.size // len(self)
        return [flat[each * start : each * stop].reshape(height, -1) for _, start, stop in self.shares]

    def blocks(self, X):
        """The part's rows of a matrix (n, ·), share by share; one (shares, ·, ·) if equal."""
        X = X[self.rows]
        if self.height:
            return [X.reshape(len(self.shares), self.height, X.shape[1])]
        return [X[start:stop] for _, start, stop in self.shares]
