"""Someone else's kernels as a backend: any importable package whose modules are named like stems.

    csrl verify --backend their.package

``their.package.assign`` (a module, or an attribute with functions) holds the functions of the stem ``assign`` as
`csrl_core.contract` describes them. They are given NumPy arrays, and may return whatever NumPy makes arrays of.
A stem may be missing; a function of a stem that is there may not.
"""

from importlib import import_module

from csrl_core import backends, contract
from csrl_core.backends import BackendError


class ThirdParty:
    """A package as a backend of `csrl_core.contract.verify`.

    name : str, the dotted name to import

    Raises
    ------
    BackendError
        It cannot be imported, or has no stem at all.
    """

    on_device = False

    def __init__(self, name):
        self.name = name
        try:
            self._package = import_module(name)
        except Exception as error:  # whatever the package raises while it is imported
            known = ", ".join(backends.BACKENDS)
            raise BackendError(
                f"backend {name!r} cannot be imported ({type(error).__name__}: {error}); "
                f"expected one of {known}, or a package with modules named like stems: {', '.join(contract.STEMS)}"
            ) from error
        self._stems = {stem: self._find(stem) for stem in contract.STEMS}
        if not any(self._stems.values()):
            raise BackendError(f"{name} has none of the stems: it holds no module {', '.join(contract.STEMS)}")

    def _find(self, stem):
        """The stem's module, or an attribute of that name; None where there is neither."""
        home = f"{self.name}.{stem}"
        try:
            # The module first: an attribute may be a function of the same name that the package gives out.
            return import_module(home)
        except ModuleNotFoundError as error:
            # The package may lack a stem; a module of it that cannot import another one is a fault.
            if error.name != home and hasattr(self._package, "__path__"):
                raise BackendError(f"{home} cannot be imported ({error})") from error
        except Exception as error:
            raise BackendError(f"{home} cannot be imported ({type(error).__name__}: {error})") from error
        return getattr(self._package, stem, None)

    def __getattr__(self, stem):
        module = None if stem.startswith("_") else self._stems.get(stem)
        if module is None:
            raise AttributeError(stem)
        return module

    @property
    def missing(self):
        """The stems of the contract that the package does not have."""
        return tuple(stem for stem, module in self._stems.items() if module is None)


def resolve(name):
    """The backend of a name: one of csrl_core's, or a package.

    Raises
    ------
    BackendError
        There is no such backend here; the message says why.
    """
    return backends.get(name) if name in ("auto", *backends.BACKENDS) else ThirdParty(name)
