"""Methods whose answer has a row for each sample: to a Dask collection they answer with a Dask array.

Nothing is computed before Dask computes that array, and then by its workers, partition by partition, with any of its
schedulers. The model as it is when it is asked is one entry of the graph, so that a worker gets it once.
"""

import functools
import pickle
from copy import copy

import numpy as np
from sklearn import config_context, get_config

from csrl_core import backends
from csrl_core.training.dask import is_collection, worker

# Fitted attributes that no method of rows needs, and settings that workers do not share.
_LEFT_HERE = ("labels_", "table_", "_moments", "_skl_callbacks", "_sklearn_output_config")


def row_by_row(method=None, *, beside=(), numbered=False):
    """Decorator of a method (self, X, …) that gives each row of X a row of its result, whatever the other rows are.

    beside : names of arguments that have a row for each of X as well; numbered : bool, whether a result depends on the
    row's number in X, ``self._first_row`` for the first
    """

    def decorate(method):
        argument, *names = method.__code__.co_varnames[1 : method.__code__.co_argcount]

        @functools.wraps(method)
        def answer(self, *args, **options):
            X = args[0] if args else options.get(argument)
            if not is_collection(X):
                return method(self, *args, **options)
            from csrl_core.training.dask.lazy import LazyRows

            given = dict(zip(names, args[1:])) | {name: value for name, value in options.items() if name != argument}
            others = {name: given.pop(name) for name in beside if given.get(name) is not None}
            self._check_fitted()
            _check_output(self, method.__name__)
            rows = LazyRows(self._flat(X, argument), argument)
            self._complete(rows.dtype)
            answers = Answers(self, method.__name__, given)
            sample = answers.to_sample(rows.sample(), {name: np.zeros(1, np.int64) for name in others})
            return rows.mapped(sample, answers, others, numbered or self._numbered)

        return answer

    return decorate if method is None else decorate(method)


def _check_output(estimator, name):
    """Refuse frames as output, which scikit-learn would make of the arrays in this process."""
    own = vars(estimator).get("_sklearn_output_config", {}).get("transform")
    output = own or get_config()["transform_output"]
    if name == "transform" and output != "default":
        raise ValueError(
            f"transform of a Dask collection is a Dask array, no {output} frame; set_output(transform='default') "
            f"before, and dask.dataframe.from_dask_array after it"
        )


class Answers:
    """A fitted estimator that answers for partitions, in whichever process.

    estimator : fitted; it may change afterwards; name : of the method; options : dict, other arguments of the method
    """

    def __init__(self, estimator, name, options):
        import cloudpickle

        self.name, self.options = name, options
        self._pickled = cloudpickle.dumps(_alone(estimator))

    @functools.cached_property
    def estimator(self):
        """The estimator, read once in each process."""
        return pickle.loads(self._pickled)

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "estimator"}

    def to_sample(self, sample, beside):
        """The answer to one row, for shape and dtype; by the NumPy backend, which compiles nothing."""
        other = copy(self.estimator)
        other.backend = "numpy"
        vars(other).pop("scaling_", None)  # which would warn of a value outside the training data
        with np.errstate(all="ignore"):
            return self._answer(other, sample, beside)

    def __call__(self, rows, begin, beside):
        """The answer to some rows. begin : number of the first of them; beside : dict of name → rows of arguments"""
        other, threads = copy(self.estimator), worker.number_of_threads()
        vars(other).pop("feature_names_in_", None)  # compared with the collection's
        other._first_row = begin
        if threads is not None:
            other.n_jobs = threads
        with worker.threads(backends.get(other.backend), other.n_jobs):
            return self._answer(other, rows, beside)

    def _answer(self, estimator, rows, beside):
        with config_context(transform_output="default"):
            return getattr(estimator, self.name)(rows, **beside, **self.options)


def _alone(estimator):
    """A copy of a fitted estimator on the host, without what belongs to the samples of the fit or to this process."""
    other = copy(estimator).to_cpu()
    for name in _LEFT_HERE:
        vars(other).pop(name, None)
    if not isinstance(getattr(other, "init", ""), str):
        other.init = "random"  # instead of labels or centres, which only a fit needs
    model = other._model(backends.get("numpy"))
    of_samples = {"assign", *getattr(model, "of_samples", ())}
    other.state_ = {name: array[:0] if name in of_samples else array for name, array in other.state_.items()}
    return other
