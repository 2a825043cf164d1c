"""Constructor arguments of estimators that learn from changed samples."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from csrl_core.backends import as_numpy
from csrl_core.reference.augment import BORDERS, Augmentation
from csrl_core.training.on_disk import is_on_disk

NOISE = 0.1  # of vectors, in standard deviations of their features


@dataclass(kw_only=True, eq=False, repr=False, match_args=False)
class AugmentationArguments:
    """How samples are changed, see `csrl_core.reference.augment`; all but noise is for images alone.

    Parameters
    ----------
    shift : float
        Of images: the largest shift in either direction, in pixels.
    rotation : float
        Of images: the largest rotation either way, in degrees.
    zoom : float
        Of images: the largest logarithm of the factor of an axis, either way.
    elastic : float
        Of images: the strength α of the elastic deformation.
    smoothing : float
        Of images: the smoothness σ of the elastic deformation, in pixels.
    noise : float or "auto"
        Standard deviation of the normal noise that is added. "auto": none to images, and to vectors a tenth of the
        standard deviation of their features.
    erase : int
        Of images: the longest side of a rectangle that becomes 0.
    border : {"zeros", "replicated"}
        What lies outside of an image.
    """

    shift: float = 2.0
    rotation: float = 15.0
    zoom: float = 0.1
    elastic: float = 42.0
    smoothing: float = 5.0
    noise: float | str = "auto"
    erase: int = 0
    border: str = "zeros"

    _parameter_constraints = {
        "shift": [Interval(Real, 0, None, closed="left")],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "zoom": [Interval(Real, 0, None, closed="left")],
        "elastic": [Interval(Real, 0, None, closed="left")],
        "smoothing": [Interval(Real, 0, None, closed="neither")],
        "noise": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "erase": [Interval(Integral, 0, None, closed="left")],
        "border": [StrOptions(set(BORDERS))],
    }

    def _augmentation(self, image, X=None):
        """The `Augmentation` of samples.

        image : (c, h, w), or None for vectors; X : (n, d), which ``noise="auto"`` depends on, or None
        """
        noise = self.noise
        if noise == "auto":
            noise = 0.0
            if image is None and X is not None:
                variance = X.var() if is_on_disk(X) else as_numpy(X).astype(np.float64).var(axis=0)
                noise = NOISE * float(np.sqrt(variance.mean()))
        if image is None:
            return Augmentation(noise=float(noise))
        return Augmentation(
            *map(float, (self.shift, self.rotation, self.zoom, self.elastic, self.smoothing, noise)),
            erase=int(self.erase),
            border=BORDERS[self.border],
        )
