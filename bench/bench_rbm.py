"""Seconds per epoch of Boltzmann machines, beside scikit-learn and a vectorised torch program in the same run.

    python bench/bench_rbm.py            # table, and rows appended to bench/results/rbm.csv
    python bench/bench_rbm.py --quick    # smoke run, seconds, nothing appended
    python bench/bench_rbm.py --pieces   # what a step is made of: products, sampling passes

"PCD" is one machine trained by persistent contrastive divergence and SGD; "TRBM" several, each sample with the one
whose contrastive-divergence loss is lowest, by Adam. An epoch is everything: batches, chains, losses, gradient and
update. Before anything is timed, all contestants' statistics of the same data and chains are compared, and after a few
epochs from the same start how well they reconstruct. Data are MNIST's test images where CSRL_DATA has them, else
random bits as dense. "numba" is a bare loop over the kernels, "numba fit" the estimator with all that it does besides.
"""

import argparse
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from common import append_rows, machine, percentile, print_table, product_rate, time_in_turns
from threadpoolctl import threadpool_limits

from csrl_core import backends as backend
from csrl_core import datasets
from csrl_core.reference import rbm as reference
from csrl_core.reference.optimizer import OptimizerState

try:
    import torch
except ImportError:
    torch = None

KEY, STREAM = np.array([1, 2], np.uint32), 20
SPREAD = 0.035  # of reconstruction errors by random numbers alone: standard deviation of sixteen torch runs, relative
ADAM_RATE = 1e-3
SGD_RATE = 0.01


@dataclass(frozen=True)
class Setting:
    """One machine, or several, and the data."""

    name: str
    n: int
    d: int
    m: int
    k: int
    batch: int

    @property
    def persistent(self):
        """Whether chains go on from batch to batch."""
        return self.k == 1

    def title(self):
        """As rows and tables say it."""
        return f"{self.name} {self.n}x{self.d} m={self.m} k={self.k} batch {self.batch}"

    def flops(self):
        """Of our products in an epoch: data and both halves of a chain's step under k machines, and statistics."""
        return 2 * self.n * self.d * self.m * (3 * self.k + 2)


SETTINGS = [Setting("PCD-1", 10000, 784, 256, 1, 100), Setting("TRBM CD-1", 2560, 784, 500, 10, 256)]


class Problem:
    """Data and initial parameters, the same for every contestant."""

    def __init__(self, setting):
        s, rng = setting, np.random.default_rng(0)
        self.setting, self.source = setting, "random bits"
        if datasets.available("mnist"):
            self.X, self.source = (datasets.load("mnist").data[: s.n] / 255).astype(np.float32), "MNIST"
        else:
            self.X = (rng.random((s.n, s.d)) < 0.13).astype(np.float32)
        self.X = backend.get("numba").own(self.X)
        size = s.k * s.d * s.m
        self.params = np.concatenate([0.01 * rng.standard_normal(size), np.zeros(s.k * s.m + s.d)]).astype(np.float32)
        self.rows = [slice(first, first + s.batch) for first in range(0, s.n, s.batch)]

    def error(self, params):
        """Mean squared error of one mean-field reconstruction, under each sample's best machine."""
        W, a, b = reference.views(params, self.setting.k, self.setting.d)
        errors = []
        for j in range(self.setting.k):
            R = reference.sigmoid(reference.sigmoid(self.X @ W[j] + a[j]) @ W[j].T + b)
            errors.append(((R - self.X) ** 2).mean(axis=1))
        return float(np.min(errors, axis=0).mean())


class Ours:
    """Epochs as the trainer makes them, kernel by kernel."""

    def __init__(self, problem, threads, name="numba"):
        self.p, self.threads, self.step = problem, threads, 0
        self.backend, s = backend.get(name), problem.setting
        xp, own = self.backend.xp, self.backend.own
        self.X, self.params = own(problem.X), own(problem.params.copy())
        self.centers, self.moments = xp.zeros((s.k, s.d), np.float32), xp.zeros((2, len(self.params)), np.float32)
        self.chains, self.hidden = (own(xp.zeros((s.k, s.batch, width), np.float32)) for width in (s.d, s.m))
        self.weights, self.index = xp.ones(s.n, np.float32), xp.arange(s.n)

    def context(self):
        """What a fit enters once."""
        return self.backend.threads(self.threads)

    def epoch(self):
        """One epoch."""
        rbm, p = self.backend.rbm, self.p
        for rows in p.rows:
            self.step += 1
            if p.setting.persistent:
                _, _, gradient = rbm.persistent_losses_and_gradient(
                    *(self.params, self.X[rows], self.centers, None, self.weights[rows], reference.BERNOULLI),
                    *(self.chains, self.hidden, 1, KEY, STREAM, self.step),
                )
            else:
                _, _, gradient = rbm.losses_and_gradient(
                    *(self.params, self.X[rows], self.centers, None, self.weights[rows], reference.BERNOULLI),
                    *(1, True, KEY, STREAM, self.step, self.index[rows]),
                )
            self._update(gradient, 1 / (rows.stop - rows.start))

    def _update(self, gradient, scale):
        optimizer = self.backend.optimizer
        method, rate = (optimizer.SGD, SGD_RATE) if self.p.setting.persistent else (optimizer.ADAM, ADAM_RATE)
        optimizer.update(self.params, gradient, scale, OptimizerState(method, self.moments, self.step - 1, rate))

    def statistics(self, v, chains):
        """Σ vᵀσ(a + vW) over data less chains, under machine 0, at the parameters of the start: (d, m)."""
        s, own, energy = self.p.setting, self.backend.own, self.backend.rbm.energy_gradient
        params, zeros, weights = own(self.p.params), own(np.zeros(len(v), np.int64)), self.weights[: len(v)]
        both = [energy(params, s.k, own(x), zeros, weights, reference.BERNOULLI) for x in (chains, v)]
        return reference.views(backend.as_numpy(both[0] - both[1]), s.k, s.d)[0][0]


class Sklearn:
    """BernoulliRBM's own inner loop, on float32 as its ``fit`` does."""

    def __init__(self, problem, threads):
        from sklearn.neural_network import BernoulliRBM

        self.p, self.threads, s = problem, threads, problem.setting
        self.model = BernoulliRBM(n_components=s.m, batch_size=s.batch, learning_rate=SGD_RATE, n_iter=1)
        self.random = np.random.RandomState(0)
        self.set(problem.params)

    def set(self, params):
        """Its parameters, in its layout."""
        (W, a, b), s = reference.views(params.copy(), self.p.setting.k, self.p.setting.d), self.p.setting
        self.model.components_ = np.asarray(W[0].T, order="F", dtype=np.float32)
        self.model.intercept_hidden_, self.model.intercept_visible_ = a[0].copy(), b.copy()
        self.model.h_samples_ = np.zeros((s.batch, s.m), np.float32)

    @property
    def params(self):
        """Its parameters in our layout."""
        model = self.model
        return np.concatenate([model.components_.T.ravel(), model.intercept_hidden_, model.intercept_visible_])

    def context(self):
        """Its number of BLAS threads."""
        return threadpool_limits(self.threads, user_api="blas")

    def epoch(self):
        """One epoch."""
        for rows in self.p.rows:
            self.model._fit(self.p.X[rows], self.random)

    def statistics(self, v, chains):
        """As in `Ours`."""
        hidden = self.model._mean_hiddens
        return v.T @ hidden(v) - chains.T @ hidden(chains)


class Torch:
    """The same in torch: one batched product for all machines, no autograd, updates in place.

    PCD keeps hidden samples between batches, as scikit-learn does, which saves one product of six.
    """

    def __init__(self, problem, threads, compiled, draw, device="cpu"):
        self.p, self.threads, s, self.device = problem, threads, problem.setting, device
        self.X = torch.from_numpy(problem.X).to(device)
        # What was compiled for one number of threads must not count against another.
        torch._dynamo.config.recompile_limit = 64
        self.draw = torch.bernoulli if draw == "bernoulli" else lambda p: (torch.rand_like(p) < p).to(p.dtype)
        compile_ = (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        self.pcd, self.cd = compile_(self._pcd), compile_(self._cd)
        W, a, b = reference.views(problem.params.copy(), s.k, s.d)
        self.W, self.a, self.b = (torch.from_numpy(array).to(device) for array in (W, a, b))
        self.h = torch.zeros((s.batch, s.m), device=device)
        self.gradients = [torch.empty_like(t) for t in (self.W, self.a, self.b)]
        self.optimizer = torch.optim.Adam([self.W, self.a, self.b], lr=ADAM_RATE, fused=True)

    @property
    def params(self):
        """Its parameters in our layout."""
        return np.concatenate([t.cpu().numpy().ravel() for t in (self.W, self.a, self.b)])

    @contextmanager
    def context(self):
        """Its number of threads."""
        torch.set_num_threads(self.threads)
        with torch.no_grad():
            yield

    def _pcd(self, x, h, W, a, b):
        positive = torch.sigmoid(torch.addmm(a, x, W))
        v = self.draw(torch.sigmoid(torch.addmm(b, h, W.T)))
        negative = torch.sigmoid(torch.addmm(a, v, W))
        return positive, v, negative, self.draw(negative)

    def _cd(self, x, W, a, b):
        """(L (n, k), σ(a + Wᵀv⁰), v¹, σ(a + Wᵀv¹))."""
        softplus, sigmoid = torch.nn.functional.softplus, torch.sigmoid
        A = torch.baddbmm(a[:, None], x.expand(len(W), *x.shape), W)
        positive = sigmoid(A)
        v = self.draw(sigmoid(torch.baddbmm(b.expand(len(W), 1, -1), self.draw(positive), W.transpose(1, 2))))
        B = torch.baddbmm(a[:, None], v, W)
        L = softplus(B).sum(-1) + v @ b - softplus(A).sum(-1) - x @ b
        return L.T, positive, v, sigmoid(B)

    def epoch(self):
        """One epoch."""
        for rows in self.p.rows:
            if self.p.setting.persistent:
                self._persistent_step(self.X[rows])
            else:
                self._step(self.X[rows])

    def _persistent_step(self, x):
        W, a, rate = self.W[0], self.a[0], SGD_RATE / len(x)
        positive, v, negative, self.h = self.pcd(x, self.h, W, a, self.b)
        W.addmm_(x.T, positive, alpha=rate).addmm_(v.T, negative, alpha=-rate)
        a.add_(positive.sum(0) - negative.sum(0), alpha=rate)
        self.b.add_(x.sum(0) - v.sum(0), alpha=rate)

    def _step(self, x):
        L, positive, v, negative = self.cd(x, self.W, self.a, self.b)
        s = L.argmin(1)
        gW, ga, gb = self.gradients
        gb.zero_()
        for j in range(self.p.setting.k):
            own = torch.nonzero(s == j)[:, 0]
            V, P = torch.cat([x[own], v[j, own]]), torch.cat([-positive[j, own], negative[j, own]]).div_(len(x))
            torch.mm(V.T, P, out=gW[j])
            torch.sum(P, 0, out=ga[j])
            gb += (v[j, own].sum(0) - x[own].sum(0)) / len(x)
        for parameter, gradient in zip((self.W, self.a, self.b), self.gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()

    def statistics(self, v, chains):
        """As in `Ours`; the first half by the compiled function."""
        v, chains = (torch.from_numpy(array).to(self.device) for array in (v, chains))
        hidden = self.pcd(v, self.h, self.W[0], self.a[0], self.b)[0] if len(v) == len(self.h) else None
        if hidden is None:
            hidden = self.cd(v, self.W, self.a, self.b)[1][0]
        return (v.T @ hidden - chains.T @ torch.sigmoid(chains @ self.W[0] + self.a[0])).cpu().numpy()


def validate(everything, problem):
    """Statistics of the same data and chains agree; then, a few epochs on, reconstructions. Raises if not."""
    rng, v = np.random.default_rng(1), problem.X[problem.rows[0]]
    chains = (rng.random(v.shape) < 0.3).astype(np.float32)
    expected = None
    for name, contestant in everything.items():
        with contestant.context():
            got = contestant.statistics(v, chains)
        expected = got if expected is None else expected
        # Sums of up to 784 terms, then of a few hundred, in different orders.
        error, bound = np.abs(got - expected).max() / np.abs(expected).max(), 1000 * np.finfo(np.float32).eps
        if not error < bound:
            raise SystemExit(f"statistics of {name} are off by {error:.2g}, allowed {bound:.2g}")
    before, errors = problem.error(problem.params), {}
    for name, contestant in everything.items():
        with contestant.context():
            for _ in range(3):
                contestant.epoch()
        errors[name] = problem.error(backend.as_numpy(contestant.params))
    print(
        "reconstruction error before and after 3 epochs:", f"{before:.4f}", {n: f"{e:.4f}" for n, e in errors.items()}
    )
    middle, worst = np.median(list(errors.values())), max(errors.values())
    if not (worst < 0.8 * before and all(abs(error / middle - 1) < 5 * SPREAD for error in errors.values())):
        raise SystemExit(f"contestants do not learn alike: {errors}")


def fit_times(problem, threads, fits):
    """Seconds per epoch of the whole estimator: fits of more epochs less fits of fewer, by the epochs between."""
    try:
        from csrl_core import TensorizedRBM
    except ImportError:
        return []
    s, times = problem.setting, []
    for _ in range(fits):
        seconds = []
        for epochs in (1, 3):
            model = TensorizedRBM(
                n_clusters=s.k,
                n_hidden=s.m,
                gibbs_steps=1,
                persistent=s.persistent,
                learning_rate=SGD_RATE if s.persistent else ADAM_RATE,
                optimizer="sgd" if s.persistent else "adam",
                weight_decay=0.0,
                epochs=epochs,
                batch_size=s.batch,
                assignment="cd",
                standing_epochs=0,
                random_state=0,
                n_jobs=threads,
            )
            begin = time.perf_counter()
            model.fit(problem.X)
            seconds.append(time.perf_counter() - begin)
        times.append((seconds[1] - seconds[0]) / 2)
    return sorted(times)


def run(setting, seconds, quick, fits, rates):
    """Rows of one setting."""
    problem, everything = Problem(setting), {}
    for threads in (1, 2):
        plural = f"{threads} thread{'s'[: threads - 1]}"
        everything[f"numba, {plural}"] = Ours(problem, threads)
        if setting.persistent:
            everything[f"sklearn, {plural}"] = Sklearn(problem, threads)
        for draw in ("bernoulli", "rand") if torch is not None else ():
            everything[f"torch {draw} eager, {plural}"] = Torch(problem, threads, False, draw)
            if not quick:
                everything[f"torch {draw} compile, {plural}"] = Torch(problem, threads, True, draw)
    validate(everything, problem)
    times = time_in_turns({name: (c.epoch, c.context) for name, c in everything.items()}, seconds, 3)
    for threads in (1, 2):
        found = fit_times(problem, threads, fits)
        times |= {f"numba fit, {threads} thread{'s'[: threads - 1]}": found} if found else {}

    def best(peer):
        return min((percentile(t, 50) for name, t in times.items() if name.startswith(peer)), default=float("nan"))

    flops, rows = setting.flops(), []
    for name, values in times.items():
        median, threads = percentile(values, 50), int(name.split()[-2])
        rows.append(
            {
                **machine(),
                "threads": threads,
                "case": setting.title(),
                "data": problem.source,
                "dtype": "float32",
                "backend": name.partition(",")[0],
                "p20": percentile(values, 20),
                "p50": median,
                "p80": percentile(values, 80),
                "by_sklearn": best("sklearn") / median,
                "by_torch_bernoulli": best("torch bernoulli") / median,
                "by_torch_rand": best("torch rand") / median,
                "gflop": flops / 1e9,
                "gflop_s": flops / median / 1e9,
                "of_product_rate": flops / median / 1e9 / rates[threads],
            }
        )
    return rows


def pieces():
    """Milliseconds of what a step is made of, on one thread: products of the shapes, and passes over them."""
    rows = []
    for setting in SETTINGS:
        with backend.get("numba").threads(1):
            calls = {name: (call, lambda: threadpool_limits(1)) for name, call in _calls(setting).items()}
            times = time_in_turns(calls, 0.3, 3, 0)
        title = setting.title()
        rows += [{"case": title, "piece": name, "ms": 1e3 * percentile(t, 50)} for name, t in times.items()]
    print_table(rows, ["case", "piece", "ms"])


def _calls(s):
    """The pieces of one setting's step."""
    from csrl_core.kernels.cpu.rbm import products, units, walk

    rng = np.random.default_rng(0)
    W = (0.01 * rng.standard_normal((s.d, s.m))).astype(np.float32)
    V, H = ((rng.random((s.batch, width)) < 0.3).astype(np.float32) for width in (s.d, s.m))
    A, B, G, P, T, R = (np.empty_like(array) for array in (H, V, W, H, V, W.T))
    a, b, one, place, row = np.zeros_like(W[0]), np.zeros_like(V[0]), np.float32(1), np.arange(s.batch), V.T.copy()
    machine, draw = walk.Machine(W, a, b, 0, 1), walk.words(KEY, 0, 0, STREAM)
    return {
        "V W, BLAS": lambda: np.matmul(V, W, out=A),
        "V W": lambda: products.product(V, W, A, False),
        "H Wt, BLAS": lambda: np.matmul(H, W.T, out=B),
        "W transposed": lambda: products.transpose(W, R),
        "H Wt": lambda: products.product(H, R, B, False),
        "Vt H, BLAS": lambda: np.matmul(V.T, H, out=G),
        "Vt H": lambda: products.product(row, H, G, False),
        "V W, energies, probabilities": lambda: walk.free_energies(machine, reference.BERNOULLI, V),
        "probabilities V": lambda: units.probabilities(T, one, b),
        "sample H": lambda: units.draw_bits(P, draw, place, s.m, 0),
        "sample V": lambda: units.draw_bits(T, draw, place, s.d, 0),
    }


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smoke run, nothing is appended")
    parser.add_argument("--pieces", action="store_true", help="time what a step is made of")
    parser.add_argument("--case", choices=[s.name for s in SETTINGS])
    parser.add_argument("--seconds", type=float, default=4.0, help="spent on each contestant")
    parser.add_argument("--fits", type=int, default=5, help="pairs of whole fits that are timed; 0: kernels alone")
    options = parser.parse_args()
    if options.pieces:
        pieces()
        return
    if torch is None:
        print("torch is not installed: no such peer to compare with (pip install 'csrl_core[oracle]')")
    rates = {threads: product_rate("float32", threads, 512 if options.quick else 2048) for threads in (1, 2)}
    print("product rate, GFLOP/s:", {threads: round(rate) for threads, rate in rates.items()})
    rows = []
    for setting in SETTINGS:
        if options.case in (None, setting.name):
            n = min(setting.n, 4 * setting.batch) if options.quick else setting.n
            small = Setting(setting.name, n, setting.d, setting.m, setting.k, setting.batch)
            seconds, fits = (0.2, 2) if options.quick else (options.seconds, options.fits)
            rows += run(small, seconds, options.quick, fits, rates)
    ratios = ["by_sklearn", "by_torch_bernoulli", "by_torch_rand"]
    print_table(
        rows, ["case", "backend", "threads", "p20", "p50", "p80", *ratios, "gflop", "gflop_s", "of_product_rate"]
    )
    if not options.quick:
        print("appended to", append_rows("rbm", rows))


if __name__ == "__main__":
    main()
