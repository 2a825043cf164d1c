"""What the tests of the CUDA backends share: backends on a given emulator, and broken copies of device code."""

from dataclasses import dataclass, field

from csrl_core import backends as backend
from csrl_core import contract
from csrl_core.kernels.gpu._platform import emulator, launch

STEMS = launch.stems()
FUNCTIONS = [key for key in contract.CONTRACT if key[0] in STEMS]  # (stem, function) of all that has device code


@dataclass(frozen=True)
class Broken(launch.Source):
    """Device code with replacements, wherever they are in what compilers get."""

    changes: dict = field(default_factory=dict)

    @property
    def whole(self):
        text = super().whole
        for old, new in self.changes.items():
            assert text.count(old) >= 1, f"{old!r} is not in {self.stem}.cu"
            text = text.replace(old, new, 1)
        return text

    __hash__ = None


def on(orders=emulator.ORDERS, changes=None, max_blocks=None, sources=None):
    """A backend on an emulator of its own; changes : stem → {old text: new text}."""
    changes = changes or {}

    def broken(stem):
        original = (sources or {}).get(stem) or launch.source(stem)
        return Broken(stem, original.text, changes[stem]) if stem in changes else original

    platform = emulator.Emulator(orders, broken)
    if max_blocks:
        platform.max_blocks = max_blocks
    return backend.Backend("emulated", platform)


def run(text, name, blocks, *arguments, dtype="float64", shared=0, orders=emulator.ORDERS):
    """Run a kernel of a text of its own."""
    source = launch.Source("kernel", text)
    platform = emulator.Emulator(orders, lambda stem: source)
    kernel = platform.kernel("kernel", name, launch.np.dtype(dtype))
    types = source.kernels[name]
    values = [
        v if t.pointer else t.dtype(launch.np.dtype(dtype)).type(v) for t, v in zip(types, arguments, strict=True)
    ]
    platform.run(kernel, blocks, values, shared)
