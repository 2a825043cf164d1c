"""The contract between backends: stem → functions, arguments, units, what agreement means.

Every backend has these functions with these arguments in this order. Kernels are functions of arrays
and keep no state; what they change in place is marked. What is summed over samples comes back as a sum.

In shapes: n samples, d features, k clusters, p parameters, b rows in a batch, h latent dimensions. The
dtype "float" is the working dtype, float32 or float64, one and the same for all "float" arguments of a call.

    print(describe("assign"))
"""

from dataclasses import dataclass

STEMS = ("philox", "assign", "dense", "optimizer", "autoencoder", "mixture", "rbm")


@dataclass(frozen=True)
class Tolerance:
    """How far a backend may be from the reference; ``floor`` counts roundings of the largest entry."""

    floor: float
    reason: str


# The budget of an array is eps(dtype) · (2 · r + floor · max|expected|). r is the reference's own error in
# float32 divided by eps(float32): it measures how much this call magnifies roundings, for either dtype.
TOLERANCES = {
    "exact": Tolerance(0.0, "integers, comparisons, and numbers that both dtypes hold exactly: no rounding"),
    "elementwise": Tolerance(
        4.0, "the same few operations in the same order; libraries' exp, log, tanh differ by an ulp or two each"
    ),
    "sum": Tolerance(
        64.0,
        "the same terms in another order: chunks hold about 1000, whose roundings add up like a random walk "
        "to √1000 ≈ 32, in either backend",
    ),
}
# Where the reference in float32 misses float64 by more than this part of the largest entry, or takes
# another integer, a case is no test: it would pass anything.
WELL_POSED = 1e-2


@dataclass(frozen=True)
class Argument:
    name: str
    shape: str  # "" for a scalar
    dtype: str
    meaning: str
    in_place: bool = False


@dataclass(frozen=True)
class Function:
    """One kernel: its arguments in order, what it returns, and how exactly backends agree on it.

    ``unit`` says what the result is per or of: "element", "sample", "sum over samples", "parameter", or
    "batch" for a loss that does not add up over samples.
    """

    stem: str
    name: str
    arguments: tuple[Argument, ...]
    returns: str
    tolerance: str
    unit: str

    @property
    def in_place(self):
        return tuple(i for i, argument in enumerate(self.arguments) if argument.in_place)

    @property
    def signature(self):
        return tuple(argument.name for argument in self.arguments)


_ARGUMENTS = {
    # philox
    "counter": ("(..., 4)", "uint32", "(block, substep, step, stream)"),
    "key": ("(2,)", "uint32", "drawn once a fit"),
    "stream": ("", "int", "use | layer << 8 | restart << 16"),
    "step": ("", "int", "the optimizer's global step"),
    "substep": ("", "int", "Gibbs iteration, or index of β"),
    "rows": ("(n,)", "int", "the samples' places in the data"),
    "width": ("", "int", "elements a row"),
    "dtype": ("", "dtype", "of what is returned"),
    "count": ("", "int", "how many"),
    "high": ("", "int", "one more than the largest, 1 … 2³²"),
    "n": ("", "int", "how many are ordered"),
    # samples and clusters
    "X": ("(n, d)", "float", "input"),
    "target": ("(n, d)", "float", "what is to be reconstructed"),
    "weights": ("(n,)", "float", "sample weights"),
    "costs": ("(n, k)", "float", "what assignment minimises"),
    "losses": ("(n, k)", "float", "loss of every sample under every cluster's model"),
    "assign": ("(n,)", "int64", "cluster of each sample"),
    "centers": ("(k, d)", "float", "cluster centres, constants of the gradient"),
    "k": ("", "int", "clusters"),
    "b": ("", "int", "how many earlier centres the old one stands for"),
    "index": ("(b,)", "int64", "the batch's places in assign, distinct"),
    "new": ("(b,)", "int64", "the batch's new clusters"),
    "sums": ("(k, d)", "float64", "Σ w x of every cluster"),
    "totals": ("(k,)", "float64", "Σ w of every cluster"),
    "counts": ("(k,)", "int64", "samples with w > 0 of every cluster"),
    # parameters
    "params": ("(p,)", "float", "all trained parameters"),
    "gradient": ("(p,)", "float", "a sum over samples"),
    "scale": ("", "float64", "makes the sum a (clipped) mean"),
    "weight": ("", "float64", "Σ w of the batch"),
    "clip_norm": ("", "float64", "largest norm of the mean gradient, 0 for no limit"),
    "first": ("(p,)", "float", "first moment m"),
    "second": ("(p,)", "float", "second moment v"),
    "velocity": ("(p,)", "float", "v"),
    "moments": ("(2, p)", "float", "(m, v), or (velocity, unused)"),
    "learning_rate": ("", "float64", "η"),
    "beta1": ("", "float64", "β₁"),
    "beta2": ("", "float64", "β₂"),
    "epsilon": ("", "float64", "ε, outside the root"),
    "momentum": ("", "float64", "μ"),
    "rule": ("", "int", "ADAM or SGD"),
    "hyper": ("(4,)", "float64", "(η, β₁, β₂, ε), or (η, μ, -, -)"),
    # networks
    "layers": ("(n_layers, 6)", "int64", "fan_in, fan_out, copies, weight, bias, activation"),
    "activation": ("", "int", "a code of dense.ACTIVATIONS"),
    "A": ("(n, m)", "float", "pre-activations"),
    "G": ("(n, m)", "float", "gradient with respect to the output"),
    "Y": ("(n, m)", "float", "output"),
    "bias": ("(m,)", "float", "empty for none"),
    "reg": ("", "float64", "λ"),
    "order": ("(n,)", "int64", "the samples in the order of the epoch"),
    "batch_size": ("", "int", "rows of a batch"),
    "center": ("", "bool", "whether centres are taken off"),
    "assign_first": ("", "bool", "assignment before the gradient rather than after"),
    "running": ("", "bool", "centres by the running rule"),
    "Z": ("(n, h)", "float", "embedding"),
    "p": ("(n, width)", "float", "probabilities"),
    # Boltzmann machines: m hidden units, M chains a cluster
    "V": ("(n, d)", "float", "visible units, in the coordinates of the row's cluster"),
    "H": ("(n, m)", "float", "hidden units"),
    "visible": ("", "int", "BERNOULLI or GAUSSIAN"),
    "n_steps": ("", "int", "steps of a chain, K"),
    "every": ("", "bool", "whether all columns of the losses are wanted, or the assigned one"),
    "chains": ("(k, M, d)", "float", "persistent chains of every cluster: where their visible units stand"),
    "hidden": ("(k, M, m)", "float", "bits, where the hidden units of persistent chains do"),
    "base": ("(k, d)", "float", "visible bias of the model that annealing starts from"),
    "betas": ("(T,)", "float64", "inverse temperatures, from 0 up to 1"),
    "n_chains": ("", "int", "chains, M"),
    "offset": ("(m,)", "float", "what every row's pre-activations gain"),
    "column": ("", "int", "the row's element that the first column takes"),
    # Gaussian clusters
    "residuals": ("(n, k)", "float", "squared distance from every cluster's subspace"),
    "precision": ("(k, h, h)", "float", "Σ⁻¹ of the coordinates in every cluster"),
    "inverse_noise": ("(k,)", "float", "1/σ² of every cluster"),
    "constant": ("(k,)", "float", "what every sample of a cluster pays"),
}

# Where an argument is not what its name means elsewhere.
_LOCAL = {
    ("assign", "move", "X"): ("(b, d)", "float", "the batch's rows"),
    ("assign", "move", "weights"): ("(b,)", "float", "the batch's weights"),
    ("assign", "means", "centers"): ("(k, d)", "float64", "cluster centres"),
    ("dense", "forward", "X"): ("(n, fan_in)", "float", "input"),
    ("dense", "forward", "weight"): ("(fan_in, m)", "float", "W"),
    ("dense", "backward", "X"): ("(n, fan_in)", "float", "input"),
    ("dense", "backward", "weight"): ("(fan_in, m)", "float", "W"),
    ("autoencoder", "fused_epoch", "centers"): ("(k, d)", "float64", "cluster centres"),
    ("autoencoder", "fused_epoch", "step"): ("", "int", "optimizer steps taken before"),
    ("autoencoder", "losses_and_gradient", "assign"): ("(n,)", "int64 or None", "None: argmin of the losses"),
    ("rbm", "losses_and_gradient", "assign"): ("(n,)", "int64 or None", "None: argmin of the losses"),
    ("rbm", "persistent_losses_and_gradient", "assign"): ("(n,)", "int64 or None", "None: argmin of the losses"),
    ("rbm", "energy_gradient", "weights"): ("(n,)", "float", "weights of either sign"),
    ("rbm", "gibbs", "substep"): ("", "int", "number of the first step"),
    ("rbm", "ais", "step"): ("", "int", "number of the estimate"),
    ("mixture", "moments", "Z"): ("(n, k, h)", "float", "coordinates in every cluster's subspace"),
    ("mixture", "costs", "Z"): ("(n, k, h)", "float", "coordinates in every cluster's subspace"),
    ("optimizer", "adam", "step"): ("", "int", "t, from 1 on"),
    ("optimizer", "update", "step"): ("", "int", "t, from 1 on"),
}


def _function(stem, name, arguments, returns, tolerance, unit):
    """One entry of the table; an argument that changes in place carries a star."""
    described = []
    for word in arguments.split():
        argument = word.rstrip("*")
        shape, dtype, meaning = _LOCAL.get((stem, name, argument)) or _ARGUMENTS[argument]
        described.append(Argument(argument, shape, dtype, meaning, in_place=word.endswith("*")))
    return Function(stem, name, tuple(described), returns, tolerance, unit)


_DRAW = "key stream step substep"
_SAMPLES = "sum over samples"

# stem, function, arguments (a star: changed in place), returns, tolerance, unit
CONTRACT = {
    (entry.stem, entry.name): entry
    for entry in [
        _function("philox", "philox4x32", "counter key", "(..., 4) uint32", "exact", "element"),
        _function("philox", "uniform", f"{_DRAW} rows width dtype", "(n, width) dtype", "exact", "element"),
        _function("philox", "uniform53", f"{_DRAW} count", "(count,) float64", "exact", "element"),
        _function("philox", "normal", f"{_DRAW} rows width dtype", "(n, width) dtype", "elementwise", "element"),
        _function("philox", "bernoulli", f"p {_DRAW} rows", "(n, width) float, 0 or 1", "exact", "element"),
        _function("philox", "integers", f"high {_DRAW} count", "(count,) int64", "exact", "element"),
        _function("philox", "permutation", "n key stream step", "(n,) int64", "exact", "element"),
        _function("assign", "assign", "costs", "(n,) int64", "exact", "sample"),
        _function("assign", "nearest", "X centers", "(n,) int64", "exact", "sample"),
        _function("assign", "objective", "losses assign weights", "Σ w L[i, s_i], Σ w", "sum", _SAMPLES),
        _function(
            "assign",
            "cluster_sums",
            "X assign weights k",
            "sums (k, d) float64, totals (k,) float64, counts (k,) int64",
            "sum",
            _SAMPLES,
        ),
        _function(
            "assign",
            "move",
            "X index new assign* weights sums* totals* counts*",
            "int, samples with weight that moved",
            "sum",
            _SAMPLES,
        ),
        _function("assign", "means", "sums totals centers* b", "nothing", "elementwise", "element"),
        _function("dense", "activate", "A activation", "(n, m) float", "elementwise", "element"),
        _function("dense", "activation_gradient", "G Y activation", "(n, m) float", "elementwise", "element"),
        _function("dense", "forward", "X weight bias activation", "(n, m) float", "sum", "sample"),
        _function(
            "dense",
            "backward",
            "G X Y weight activation",
            "∂W (fan_in, m), ∂b (m,), ∂X (n, fan_in) float",
            "sum",
            _SAMPLES,
        ),
        _function("optimizer", "squared_norm", "gradient", "float", "sum", "parameter"),
        _function("optimizer", "mean_scale", "gradient weight clip_norm", "float", "sum", "parameter"),
        _function(
            "optimizer",
            "adam",
            "params* gradient scale first* second* step learning_rate beta1 beta2 epsilon",
            "nothing",
            "elementwise",
            "parameter",
        ),
        _function(
            "optimizer",
            "sgd",
            "params* gradient scale velocity* learning_rate momentum",
            "nothing",
            "elementwise",
            "parameter",
        ),
        _function(
            "optimizer",
            "update",
            "params* gradient scale moments* rule step hyper",
            "nothing",
            "elementwise",
            "parameter",
        ),
        _function("autoencoder", "losses", "params layers X target centers reg", "L (n, k) float", "sum", "sample"),
        _function(
            "autoencoder",
            "losses_and_gradient",
            "params layers X target centers assign weights reg",
            "L (n, k) float, assign (n,) int64, gradient (p,) float",
            "sum",
            _SAMPLES,
        ),
        _function("autoencoder", "encode", "params layers X centers", "(n, k, h) float", "sum", "sample"),
        _function("autoencoder", "decode", "params layers Z assign centers", "(n, d) float", "sum", "sample"),
        _function(
            "autoencoder",
            "fused_epoch",
            "params* layers X target weights reg order batch_size assign* centers* sums* totals* counts* center "
            "assign_first running moments* rule step hyper clip_norm",
            "Σ w L[i, s_i], Σ w, samples with weight that moved",
            "sum",
            _SAMPLES,
        ),
        _function(
            "mixture",
            "moments",
            "Z residuals assign weights",
            "scatter (k, h, h) float64, noise (k,) float64, totals (k,) float64",
            "sum",
            _SAMPLES,
        ),
        _function(
            "mixture", "costs", "Z residuals precision inverse_noise constant", "A (n, k) float", "sum", "sample"
        ),
        _function(
            "rbm", "bernoulli_units", f"A offset {_DRAW} rows width column", "(n, m) float, 0 or 1", "exact", "element"
        ),
        _function(
            "rbm", "gaussian_units", f"A offset {_DRAW} rows width column", "(n, m) float", "elementwise", "element"
        ),
        _function("rbm", "free_energy", "params X centers visible", "F (n, k) float", "sum", "sample"),
        _function("rbm", "hidden_probabilities", "params X centers assign", "(n, m) float", "sum", "sample"),
        _function("rbm", "visible_means", "params H assign centers visible", "(n, d) float", "sum", "sample"),
        _function("rbm", "gibbs", f"params k V assign visible n_steps {_DRAW} rows", "(n, d) float", "sum", "sample"),
        _function("rbm", "energy_gradient", "params k V assign weights visible", "(p,) float", "sum", _SAMPLES),
        _function("rbm", "mean_field_losses", "params X centers visible n_steps", "L (n, k) float", "sum", "sample"),
        _function(
            "rbm",
            "losses_and_gradient",
            "params X centers assign weights visible n_steps every key stream step rows",
            "L (n, k) float, assign (n,) int64, gradient (p,) float",
            "sum",
            _SAMPLES,
        ),
        _function(
            "rbm",
            "persistent_losses_and_gradient",
            "params X centers assign weights visible chains* hidden* n_steps key stream step",
            "L (n, k) float, assign (n,) int64, gradient (p,) float",
            "sum",
            _SAMPLES,
        ),
        _function(
            "rbm", "ais", "params base visible betas n_chains key stream step", "(k, M) float64", "sum", "element"
        ),
    ]
}

# Arrays that stay on the host on every backend: Python reads them to know what to do.
HOST_ARGUMENTS = ("key", "layers", "hyper", "betas")

# Losses that couple the samples of a batch and so do not add up; no stem so far has one.
BATCH_FUNCTIONS = tuple(key for key, entry in CONTRACT.items() if entry.unit == "batch")

# Codes and tables that every backend must share.
CONSTANTS = {
    "philox": ("MULTIPLIERS", "KEY_STEPS", "ROUNDS"),
    "assign": ("CHUNK",),
    "dense": (
        *("FAN_IN", "FAN_OUT", "COPIES", "WEIGHT", "BIAS", "ACTIVATION"),
        *("LINEAR", "RELU", "LEAKY_RELU", "TANH", "SIGMOID", "ACTIVATIONS", "LEAKY_SLOPE"),
    ),
    "optimizer": ("ADAM", "SGD", "RULES", "CHUNK"),
    "autoencoder": (),
    "mixture": ("CHUNK",),
    "rbm": ("BERNOULLI", "GAUSSIAN", "VISIBLE", "VISIBLE_STREAM"),
}


def functions(stem):
    """The functions of one stem, in the contract's order."""
    if stem not in STEMS:
        raise ValueError(f"stem={stem!r} is unknown; expected one of {', '.join(STEMS)}")
    return [entry for entry in CONTRACT.values() if entry.stem == stem]


def describe(stem):
    """The contract of one stem as text."""
    lines = []
    for entry in functions(stem):
        lines += [f"{stem}.{entry.name}({', '.join(entry.signature)})"]
        for a in entry.arguments:
            kind = f"{a.shape} {a.dtype}".strip()
            lines += [f"    {a.name:<14}{kind:<26}{a.meaning}{', changed in place' if a.in_place else ''}"]
        lines += [f"    returns       {entry.returns}; agreement: {entry.tolerance}; unit: {entry.unit}", ""]
    return "\n".join(lines)
