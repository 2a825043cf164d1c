"""Figure 1 in small: one autoencoder leaves what one a cluster explains."""

from csrl_core.experiments import fig1


def test_figure_1(tmp_path):
    pictures, files = fig1.run(tmp_path, repetitions=2, backend="numpy", n_init=3, sets=("orthogonal",))
    assert all(path.stat().st_size > 200 for path in files)
    found = {row.model.rpartition(" ")[2]: row for row in pictures}
    # One line for two that stand at right angles leaves the larger part; one for each leaves the noise.
    assert found["autoencoder"].mean_squared_error > 20 * found["likelihood"].mean_squared_error
    assert found["likelihood"].ARI > 0.95 > found["loss"].ARI
    assert found["loss"].mean_squared_error < found["likelihood"].mean_squared_error
