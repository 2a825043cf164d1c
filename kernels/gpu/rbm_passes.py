"""What ``rbm`` does around its products: whose rows there are, random numbers, passes over memory, the gradient's sums.

Shapes are those of ``rbm``. A matrix has the rows of all k clusters, (k, n, ·), or one for each sample under its own
cluster, (n, ·).
"""

from dataclasses import dataclass

import numpy as np

from . import assign as assignment
from . import philox
from ._platform.launch import array, blocks_for, launch, xp
from .autoencoder import by_cluster, shares

BERNOULLI, GAUSSIAN = range(2)
_DRAW = {BERNOULLI: "bernoulli_units", GAUSSIAN: "gaussian_units"}
VISIBLE_STREAM = 1 << 8  # one layer up: visible units never see the hidden ones' numbers
WORKSPACE = 1 << 28  # bytes that the units of all clusters may take; more rows go through in parts
CHUNK = 1024  # rows of one product of the gradient; float64 from one to the next
NOTHING, BITS, MEANS = range(3)  # what ``energies`` leaves of the units


def _rows_at_once(k, d, m, itemsize):
    # At most three arrays of hidden units are there together, and two of visible ones.
    return max(1, WORKSPACE // (k * (2 * d + 3 * m) * itemsize))


def workspace_bytes(b, d, k, m, itemsize):
    """Memory that ``losses_and_gradient`` takes at most for a batch of b rows, beside its arguments.

    returns int
    """
    parts = []
    for clusters in (1, k):
        rows = min(b, _rows_at_once(clusters, d, m, itemsize))
        units = rows * (clusters * (2 * d + 3 * m) + d) * itemsize
        sums = 8 * min(assignment.CHUNKS, 1 + 2 * rows // assignment.LEAST_ROWS) * max(k * (m + 2), d + 2)
        parts.append(units + 2 * rows * ((d + m + 2) * itemsize + 3 * 8) + sums)
    p = k * d * m + k * m + d
    gradient = (8 if 2 * b > CHUNK else itemsize) * p + 2 * itemsize * p
    return b * (k * itemsize + 2 * 8) + max(parts) + gradient


class Rows:
    """The rows of a matrix: of all clusters, or with ``assign`` of every sample's own, sorted by cluster.

    order (n,) int64, begins : k + 1 ints on the host: where every cluster's samples are; own ones alone have them
    """

    def __init__(self, n, k=0, assign=None):
        self.n, self.own = n, int(assign is not None)
        if self.own:
            self.s = assign
            self.order, self.begins = by_cluster(assign, k)
        else:
            self.s = self.order = xp.empty(1, np.int64)  # an address that nobody reads

    def product(self, Y, W):
        """Y W_j under each row's cluster; Y may be (n, ·) for all, W : (k, ·, width)."""
        if not self.own:
            return xp.matmul(Y, W)
        out = xp.empty((self.n, W.shape[2]), Y.dtype)
        for j, rows in shares(len(W), self.begins):
            xp.matmul(Y[rows], W[j], out=out[rows])
        return out


@dataclass(frozen=True)
class Numbers:
    """Where random numbers come from: all of a counter but the substep and the element."""

    key: tuple
    stream: int
    step: int
    rows: object  # (n,) int64, on the device

    def of(self, part):
        """Those of a slice of the samples."""
        return Numbers(self.key, self.stream, self.step, self.rows[part])

    def counter(self, substep, shift=0):
        """What kernels take, in their order."""
        return (*self.key, self.stream + shift, self.step, substep, self.rows)


@dataclass(frozen=True)
class Machines:
    """Views of the parameters, W (k, d, m), a (k, m), b (d,), and the kind of visible units."""

    W: object
    a: object
    b: object
    visible: int

    @classmethod
    def of(cls, params, k, d, visible):
        params = array("params", params)
        m = (len(params) - d) // (k * (d + 1))
        W, a = params[: k * d * m].reshape(k, d, m), params[k * d * m : k * (d + 1) * m].reshape(k, m)
        return cls(W, a, params[k * (d + 1) * m :], visible)

    @property
    def shape(self):
        """(k, d, m)."""
        return self.W.shape

    def back(self, rows):
        """W_jᵀ, (k, m, d); a copy for batched products, which the array library would make for each."""
        W = self.W.transpose(0, 2, 1)
        return W if rows.own else xp.ascontiguousarray(W)

    def parts(self, n, clusters):
        """Slices of samples whose rows under so many clusters fit into the workspace."""
        _, d, m = self.shape
        rows = _rows_at_once(clusters, d, m, self.W.itemsize)
        return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]

    def numbers(self, key, stream, step, rows):
        """`Numbers` of both layers for these rows; the wider layer is checked."""
        k, d, m = self.shape
        return Numbers(philox._key(key), stream, step, philox._rows(rows, k * max(d, m)))

    def hidden_units(self, A, rows, numbers, substep):
        """Hidden units' bits in the place of A = v W."""
        k, _, m = self.shape
        draw(("rbm", "bernoulli_units"), A, self.a, rows, numbers.counter(substep), k * m, 0, A)
        return A

    def visible_units(self, A, rows, numbers, substep, beta=1, base=None, rest=0):
        """Visible units, drawn, in the place of A = h Wᵀ; tempered where ``base`` (k, d) is given."""
        k, d, _ = self.shape
        kernel, counter = ("rbm", _DRAW[self.visible]), numbers.counter(substep, VISIBLE_STREAM)
        draw(kernel, A, self.b[None], rows, counter, k * d, 0, A, beta, base, rest)
        return A


def draw(kernel, A, offset, rows, counter, width, column, out, scale=1, base=None, rest=0):
    """Out ← units of scale A + offset, or of scale A + rest base + scale offset; offset, base : (k or 1, m)."""
    m, base = A.shape[-1], offset if base is None else base
    count, per, base_per = A.size // m, m * (len(offset) > 1), m * (len(base) > 1)
    launch(
        *(
            *kernel,
            A.dtype,
            blocks_for(count * -(-m // _per_block(kernel))),
            A,
            scale,
            offset,
            per,
            base,
            base_per,
            rest,
        ),
        *counter,
        *(rows.order, rows.s, rows.own, count, rows.n, m, width, column, out),
    )


def _per_block(kernel):
    """Units that take one block of random words, and one thread."""
    return 2 if kernel[1] == _DRAW[GAUSSIAN] else 4


def units(kernel, A, offset, key, stream, step, substep, rows, width, column):
    """Units of A + offset as a new array; A : (n, m), offset : (m,)."""
    A, offset = array("A", A), array("offset", offset)
    out, rows = xp.empty(A.shape, A.dtype), philox._rows(rows, width)
    counter = (*philox._key(key), stream, step, substep, rows)
    draw(kernel, A, offset[None], Rows(len(A)), counter, width, column, out)
    return out


def centred_product(machines, X, centers):
    """(X W_j (k, n, m), what it lacks to be a_j + W_jᵀ(x − c_j), (k, m)): centring takes c_j W_j off."""
    return xp.matmul(X, machines.W), machines.a - xp.matmul(centers[:, None], machines.W)[:, 0]


def centred(X, centers, rows):
    """x − c of its own cluster, (n, d), sorted by cluster."""
    n, d = X.shape
    V = xp.empty((n, d), X.dtype)
    launch("autoencoder", "gather_centered", X.dtype, blocks_for(n * d), X, centers, rows.order, rows.s, V, n, d)
    return V


def begin(machines, X, centers, own):
    """(v, centres to take off it, v W, what that lacks), under each sample's own cluster, or all clusters for None."""
    if own is None:
        return X, centers, *centred_product(machines, X, centers)
    V = centred(X, centers, own)
    return V, None, own.product(V, machines.W), machines.a


def energies(machines, A, offset, V, centers, rows, L, difference=False, leaves=NOTHING, units=None, counter=None):
    """L[i, j] ← F_j(v), or L[i, j] − F_j(v), of A = v W; returns bits or means of A's shape, in ``units`` if given.

    V : (n, d), samples in input space, where there are centres; else A's rows
    """
    k, d, m = machines.shape
    group = lanes_of_row(d, m)
    counter = counter or (0, 0, 0, 0, 0, rows.order)
    if units is None:
        units = xp.empty(A.shape, A.dtype) if leaves else A
    launch(
        *("rbm", "energies", A.dtype, blocks_for(A.size // m * group), A, offset, V, centers is not None),
        *(V if centers is None else centers, machines.b, machines.visible, rows.order, rows.s, rows.own, A.size // m),
        *(rows.n, k, d, m, group, difference, L, leaves, *counter, k * m, units),
    )
    return units


def anneal(machines, A, V, base, beta, before, last, counter, log_weights):
    """log_weights (k, n) += log f_β(v) − log f_before(v) of A = v W; in A's place hidden units, but at the last."""
    (k, d, m), n = machines.shape, A.shape[1]
    group = lanes_of_row(d, m)
    launch(
        *("rbm", "anneal", A.dtype, blocks_for(k * n * group), A, machines.a, V, base, machines.b, machines.visible),
        *(beta, before, last, *counter, k * n, n, d, m, group, k * m, log_weights),
    )


def lanes_of_row(d, m):
    """How many lanes share a row of d visible units, one at a time, and m hidden ones, four at a time."""
    return assignment.lanes_for(max(d, -(-m // 4)))


def scatter_means(A, offset, linear, centers, rows, out):
    """out[order[r]] ← A[r] + offset, or σ of it, and the centre where there are some; offset : (k or 1, width)."""
    n, width = A.shape
    launch(
        *("rbm", "scatter_means", A.dtype, blocks_for(A.size), A, offset, width * (len(offset) > 1), linear),
        *(centers is not None, offset if centers is None else centers, rows.order, rows.s, n, width, out),
    )


class Statistics:
    """Rows of −∂F: visible units S, weight × p(h = 1 | v) P, clusters and weights, ``stride`` rows a sample.

    own : the samples' `Rows`; a cluster's rows lie side by side
    """

    def __init__(self, machines, own, stride):
        _, d, m = machines.shape
        n, dtype = stride * own.n, machines.W.dtype
        self.own, self.stride, self.begins = own, stride, [stride * begin for begin in own.begins]
        self.S, self.P, self.weights = xp.empty((n, d), dtype), xp.empty((n, m), dtype), xp.empty(n, dtype)
        self.labels = xp.empty(n, np.int64)

    def put(self, at, sign, weights, V, centers, A, offset, rows):
        """Row ``at`` of every sample: its own of those of V and A, with sign · weight; as for ``energies``."""
        own, n, (_, d), m = self.own, self.own.n, self.S.shape, self.P.shape[1]
        launch(
            *("rbm", "gather_visible", A.dtype, blocks_for(n * d), V, centers is not None),
            *(V if centers is None else centers, sign, weights, own.order, own.s, rows.own, n, d, self.stride, at),
            *(self.S, self.weights, self.labels),
        )
        launch(
            *("rbm", "gather_hidden", A.dtype, blocks_for(n * m), A, offset, sign, weights, own.order, own.s),
            *(rows.own, n, m, self.stride, at, self.P),
        )


class Gradient:
    """Σ ∂F over statistics, of at most ``n`` rows.

    Products within CHUNK rows in the working dtype; where there are more, float64 from one chunk to the next.
    """

    def __init__(self, machines, n):
        self._machines, (k, d, m), dtype = machines, machines.shape, machines.W.dtype
        self._total = xp.zeros(k * d * m + k * m + d, np.float64 if n > CHUNK else dtype)
        self._views = Machines.of(self._total, k, d, machines.visible)
        self._touched = set()

    def add(self, statistics):
        """What these rows contribute."""
        S, P = statistics.S, statistics.P
        for j, rows in shares(len(self._views.W), statistics.begins):
            place = self._views.W[j]
            for start in range(rows.start, rows.stop, CHUNK):
                chunk = slice(start, min(start + CHUNK, rows.stop))
                if j in self._touched or place.dtype != S.dtype:
                    place += xp.matmul(S[chunk].T, P[chunk])
                else:
                    xp.matmul(S[chunk].T, P[chunk], out=place)
                self._touched.add(j)
        a, b = self._views.a, self._views.b
        a += assignment.cluster_sums(P, statistics.labels, xp.ones(len(P), P.dtype), len(a))[0]
        sums, totals, _ = assignment.cluster_sums(S, xp.zeros(len(S), np.int64), statistics.weights, 1)
        b += sums[0]
        if self._machines.visible == GAUSSIAN:
            b -= totals * self._machines.b

    def sum(self):
        """(p,) of the working dtype."""
        return self._total.astype(self._machines.W.dtype, copy=False)
