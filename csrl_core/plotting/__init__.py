"""Pictures of fitted models.

Every function takes and gives matplotlib's own objects, uses no global state and shows nothing;
`save_figure` writes one.

style       colours, markers, figures
embeddings  embeddings, loss curves, reconstructions, one autoencoder against several
images      samples and reconstructions as images; filters and samples of Boltzmann machines
animation   filters while a machine learns
"""

from csrl_core.plotting.animation import FilterAnimation
from csrl_core.plotting.embeddings import plot_embedding, plot_figure_1, plot_loss, plot_reconstruction
from csrl_core.plotting.images import mosaic, plot_filters, plot_image_rows, plot_reconstructions, plot_samples
from csrl_core.plotting.style import COLOURS, MARKERS, new_figure, save_figure

__all__ = [
    "COLOURS",
    "MARKERS",
    "FilterAnimation",
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
