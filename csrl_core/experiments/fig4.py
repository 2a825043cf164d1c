"""Figure 4 of the paper, measured: a contrastive encoder for each cluster, beside one for all data.

1000 of MNIST's test images, digits 0 to 4, 200 of each to train on and 200 others to test with; without and with class
information. Every model is trained alike: the defaults of `TensorizedContrastive` for images.

CL            one encoder; clusters are k-means' on its embeddings
TCL, papers   an encoder for each cluster; one negative for all columns, assignment by the loss with that negative from
              the first step on
TCL           ours: the defaults
"""

import time
from dataclasses import dataclass
from pathlib import Path

from csrl_core import TensorizedContrastive, metrics
from csrl_core.experiments.clusters import clusters_of, k_means
from csrl_core.experiments.images import draw_images as images_of
from csrl_core.experiments.runs import Keyed

CLASSES, EACH, SIDE = (0, 1, 2, 3, 4), 200, 28
STANDARD, PAPERS, OURS = MODELS = ("CL", "TCL, papers", "TCL")
CHANGES = {
    STANDARD: {"n_clusters": 1},
    PAPERS: {"negatives": "own", "assignment": "loss", "standing_epochs": 0},
    OURS: {},
}
INFORMATION = ("no class information", "class information")


@dataclass(frozen=True)
class Key(Keyed):
    """The fields that identify a run."""

    KEY = ("information", "model", "repetition", "seed", "epochs")
    information: str
    model: str
    repetition: int
    seed: int
    epochs: int


@dataclass(frozen=True)
class Run(Key):
    """One model and repetition.

    ARI, ARI_test : of the clusters, for one encoder of k-means on its embeddings
    ARI_k_means, ARI_k_means_test : of k-means on the images' pixels
    loss : the final objective; seconds : of the fit
    """

    ARI: float
    ARI_test: float
    ARI_k_means: float
    ARI_k_means_test: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class Job(Key):
    """A run that is to be made; folder : where the model of the first repetition is kept, for the picture."""

    backend: str
    folder: str
    images: int

    @property
    def path(self):
        """The file of the fitted model."""
        name = f"fig4-{self.model}-{self.information}-{self.epochs}".replace(", ", "-").replace(" ", "-")
        return Path(self.folder) / f"{name}.safetensors"


def jobs(out, *, repetitions=5, seed=0, epochs=None, backend="auto", images=EACH):
    """All jobs of the figure, in order; epochs : int or None, the model's own; images : of a class, for training"""
    epochs = epochs or TensorizedContrastive().epochs
    return [
        Job(information, model, repetition, seed, epochs, backend, str(out), images)
        for information in INFORMATION
        for repetition in range(repetitions)
        for model in MODELS
    ]


def draw_images(seed, images=EACH):
    """Images of the five digits with values in [0, 1]: ((X, y) for training, (X, y) for the test)."""
    return images_of("mnist", CLASSES, seed, images, EACH)


def make_run(job):
    """Fit and measure; the first repetition's model is saved."""
    seed = job.seed + job.repetition
    (X, y), (X_test, y_test) = draw_images(seed, job.images)
    arguments = {"n_clusters": len(CLASSES), "image_shape": (SIDE, SIDE), **CHANGES[job.model]}
    begin = time.perf_counter()
    model = TensorizedContrastive(
        **arguments,
        class_information=job.information == INFORMATION[1],
        epochs=job.epochs,
        random_state=seed,
        backend=job.backend,
        n_jobs=1,
    ).fit(X, y)
    seconds = time.perf_counter() - begin
    if job.repetition == 0:
        model.save(job.path)
    labels, labels_test = clusters_of(model, X, X_test, len(CLASSES), seed)
    means = k_means(X, len(CLASSES), seed)
    return Run(
        *job.key,
        ARI=metrics.adjusted_rand_index(y, labels),
        ARI_test=metrics.adjusted_rand_index(y_test, labels_test),
        ARI_k_means=metrics.adjusted_rand_index(y, means.labels_),
        ARI_k_means_test=metrics.adjusted_rand_index(y_test, means.predict(X_test)),
        loss=float(model.loss_),
        seconds=seconds,
    )
