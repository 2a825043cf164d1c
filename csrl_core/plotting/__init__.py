"""Pictures of fitted models.

Every function takes and gives matplotlib's own objects, uses no global state and shows nothing;
`save_figure` writes one.

style            colours, markers, figures
shapes           which samples are images, and of which shape
curves           the loss over the epochs
embeddings       embeddings under their clusters
reconstructions  reconstructions; one autoencoder against several
images           rows and panels of images; filters and reconstructions of Boltzmann machines
samples          samples that models draw, and rows of data, as images
animation        filters while a machine learns
"""

from csrl_core.plotting.animation import FilterAnimation
from csrl_core.plotting.curves import plot_loss
from csrl_core.plotting.embeddings import plot_embedding
from csrl_core.plotting.images import mosaic, plot_filters, plot_image_rows, plot_reconstructions
from csrl_core.plotting.reconstructions import plot_figure_1, plot_reconstruction
from csrl_core.plotting.samples import plot_samples
from csrl_core.plotting.shapes import image_shape_of
from csrl_core.plotting.style import COLOURS, MARKERS, new_figure, save_figure

__all__ = [
    "COLOURS",
    "MARKERS",
    "FilterAnimation",
    "image_shape_of",
    "mosaic",
    "new_figure",
    "plot_embedding",
    "plot_figure_1",
    "plot_filters",
    "plot_image_rows",
    "plot_loss",
    "plot_reconstruction",
    "plot_reconstructions",
    "plot_samples",
    "save_figure",
]
