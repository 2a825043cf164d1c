"""The filters of a Boltzmann machine in motion, while it learns."""

import io

import numpy as np

from csrl_core.callbacks import EpochCallback
from csrl_core.plotting.images import (
    check_count,
    colour_limit,
    filter_panels,
    filters_of,
    mosaic,
    strongest_units,
    weights_of,
)
from csrl_core.plotting.shapes import check_image_shape
from csrl_core.plotting.style import new_figure
from csrl_core.training.atomic_files import write_atomically

_MOST_FRAMES = 200


class FilterAnimation(EpochCallback):
    """Write an animated GIF of the filters while a Boltzmann machine learns, when the fit ends or is stopped.

    A frame an epoch shows the hidden units that had the largest weights when their restart began to be recorded, on
    one colour scale for all frames. Where there would be more than 200 frames, every second one is dropped.
    Drawing takes some hundredths of a second a frame, all of it at the end. A resumed fit's
    frames begin where it resumes.

    Parameters
    ----------
    path : str or path-like
        The GIF; replaced atomically.
    image_shape : (height, width)
        Of a sample as an image.
    n : int
        Units of each cluster.
    every : int
        Epochs between two frames.
    seconds : float
        That a frame is shown.
    """

    def __init__(self, path, image_shape, n=25, every=1, seconds=0.2):
        check_count(n)
        if every < 1:
            raise ValueError(f"every={every!r}; expected at least 1 epoch")
        if not seconds > 0:
            raise ValueError(f"seconds={seconds!r}; expected a positive number")
        self.path, self.image_shape, self.n, self.every, self.seconds = path, image_shape, n, every, seconds
        self._frames = []

    def setup(self, estimator, context):
        """Begin anew, and raise now what would be raised at the end."""
        self._frames, self._stride, self._units = [], self.every, {}
        if not hasattr(estimator, "free_energy"):
            raise ValueError(f"FilterAnimation is for Boltzmann machines; {type(estimator).__name__} has no filters")
        check_image_shape(self.image_shape, estimator.n_features_in_)
        new_figure(1, 1)

    def on_epoch_end(self, estimator, epoch):
        """Keep a frame where one is due."""
        if epoch.epoch % self._stride and epoch.epoch + 1 != epoch.epochs:
            return False
        weight = weights_of(epoch.fitted())
        units = self._units.setdefault(epoch.restart, strongest_units(weight, self.n))
        self._frames.append((epoch.restart, epoch.epoch, filters_of(weight, units).astype(np.float32)))
        if len(self._frames) > _MOST_FRAMES:
            self._stride *= 2
            self._frames = self._frames[:-1:2] + self._frames[-1:]
        return False

    def teardown(self, estimator, context):
        """Draw and write."""
        frames, self._frames = self._frames, []
        if frames:
            write_atomically(self.path, self._gif(frames))

    def _gif(self, frames):
        """The bytes of the animation."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image

        shape = check_image_shape(self.image_shape, frames[0][2].shape[2])
        limit = max(colour_limit(filters) for _, _, filters in frames)
        fig, shown = filter_panels(frames[0][2], shape, limit)
        canvas, title, pictures = FigureCanvasAgg(fig), fig.suptitle(" ", fontsize=11), []
        several = frames[-1][0] > 0
        for restart, epoch, filters in frames:
            for image, own in zip(shown, filters):
                image.set_data(mosaic(own, shape))
            title.set_text((f"restart {restart + 1}, " if several else "") + f"epoch {epoch + 1}")
            canvas.draw()
            pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(128))
        gif, pause = io.BytesIO(), round(1000 * self.seconds)
        durations = [pause] * (len(pictures) - 1) + [max(pause, 1500)]  # the last one can be looked at
        pictures[0].save(gif, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
        return gif.getvalue()
