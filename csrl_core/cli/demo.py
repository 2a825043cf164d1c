"""What ``csrl demo`` shows: progress, the table, and where the files are."""

import math
import sys
import textwrap
import time

from csrl_core.cli import progress
from csrl_core.experiments import demo

NARROW = 80  # columns where there is no terminal that says how wide it is


def table(rows):
    """A rich table of the rows."""
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("data", "method"):
        shown.add_column(name, no_wrap=True)
    for name in ("ARI", "NMI", "ACC", "loss", "params", "sec"):
        shown.add_column(name, justify="right", no_wrap=True)
    best, before = {}, None
    for row in rows:
        best[row.data] = max(row.ARI, best.get(row.data, row.ARI))
    for row in rows:
        if before not in (None, row.data):
            shown.add_section()
        ari = f"{row.ARI:.3f}" + ("" if math.isnan(row.ARI_se) else f" ± {row.ARI_se:.3f}")
        shown.add_row(
            "" if row.data == before else row.data,
            row.method,
            f"[bold]{ari}[/bold]" if best[row.data] <= row.ARI else ari,
            f"{row.NMI:.3f}",
            f"{row.ACC:.3f}",
            f"{row.loss:.3g}",
            str(row.parameters),
            f"{row.seconds:.2f}",
        )
        before = row.data
    return shown


def main(out, *, backend, seed, repeats, say, **options):
    """Run the demo and show it; ``options`` are those of `demo.run`."""
    from rich.console import Console

    begin = time.perf_counter()
    with progress.shown("fits", say, every=2) as done:
        rows, files = demo.run(out, backend=backend, seed=seed, repeats=repeats, say=say, done=done, **options)
    console = Console() if sys.stdout.isatty() else Console(width=NARROW)
    console.print(table(rows))
    n_init, rates = options.get("n_init", demo.RESTARTS), " and ".join(f"{rate:g}" for rate in demo.RATES)
    what = "One repetition."
    if repeats > 1:
        once = " (MNIST-5: one)" if any(row.data == "mnist_5" for row in rows) else ""
        what = f"ARI: mean ± standard error of {repeats} repetitions{once}; all else: means."
    notes = (
        f"{what} Autoencoders: hidden layers 2 and 1, linear, full batch, the same number of Adam steps; "
        f"λ = {demo.REG:g} for TAE and PTAE, 0 for AE; the lowest final loss of {n_init} restarts at each of the "
        f"learning rates {rates} (table.csv says which was chosen). Classes were used for the scores only. "
        "loss: the final objective, mean squared error per feature plus λ‖z‖². params: trained ones, without "
        "centres. sec: all restarts and rates of a repetition. Pixels are scaled to 0–1. The standard AE has no "
        "centre to subtract: much of its one dimension goes to the mean."
    )
    say(textwrap.fill(notes, NARROW) + "\n")
    if not any(row.data in ("penguins", "mnist_5") for row in rows):
        say("With CSRL_DATA set to a folder of real data, penguins and five MNIST digits are added (csrl doctor).")
    for path in files:
        say(str(path))
    say(f"done in {time.perf_counter() - begin:.1f} s")
