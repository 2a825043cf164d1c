"""Arguments of estimators that learn from randomly changed images."""

from dataclasses import dataclass
from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions

from csrl_core.reference.augment import BORDERS, Augmentation


@dataclass(kw_only=True, eq=False, repr=False, match_args=False)
class AugmentationArguments:
    """Mixin of estimators with a `csrl_core.reference.augment.Augmentation`. Vectors can only have noise.

    Parameters
    ----------
    shift : float
        Furthest shift of an image, in pixels; this and the next five are about images alone.
    rotation : float
        Largest angle, in degrees.
    scale : float
        Largest absolute logarithm of the factors by which height and width are stretched.
    elastic : float
        Strength α of the elastic deformation, in pixels: a field of numbers from U(−1, 1), smoothed, times α.
    smoothing : float
        Standard deviation σ of the field's Gaussian, in pixels.
    erase : int
        Longest side of a rectangle that is set to 0, in pixels.
    border : {"zeros", "replicated"}
        What lies around an image.
    noise : float or "auto"
        Standard deviation of noise that is added. "auto": 0 for images, and for vectors a tenth of the root of the
        features' mean variance.
    """

    shift: float = 2.0
    rotation: float = 15.0
    scale: float = 0.1
    elastic: float = 42.0
    smoothing: float = 5.0
    erase: int = 0
    border: str = "zeros"
    noise: float | str = "auto"

    _parameter_constraints = {
        **dict.fromkeys(("shift", "rotation", "scale", "elastic"), (Interval(Real, 0, None, closed="left"),)),
        "smoothing": [Interval(Real, 0, None, closed="left")],
        "erase": [Interval(Integral, 0, None, closed="left")],
        "border": [StrOptions(set(BORDERS))],
        "noise": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    }

    def _augmentation(self, image):
        """The `Augmentation`, with None as noise that depends on the data. image : bool, whether samples are images"""
        noise = (0.0 if image else None) if self.noise == "auto" else float(self.noise)
        if not image:
            return Augmentation(noise=noise)
        strengths = (float(getattr(self, name)) for name in ("shift", "rotation", "scale", "elastic", "smoothing"))
        return Augmentation(*strengths, noise, int(self.erase), BORDERS[self.border])
