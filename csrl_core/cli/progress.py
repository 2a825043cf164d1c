"""Progress of long work: one bar, for a terminal; plain lines where there is none."""

import sys
import time
from contextlib import contextmanager


def in_terminal():
    """Whether standard error is a terminal, where a bar can be drawn."""
    return sys.stderr.isatty()


class Bar:
    """A bar on standard error, with how many of how many units are done.

    unit : str, plural; column : a rich column for the time, optional (by default the time elapsed); options : of
    `rich.progress.Progress`
    """

    def __init__(self, unit, column=None, **options):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}")
        self._unit = unit
        self._bar = Progress(*columns, column or TimeElapsedColumn(), console=Console(stderr=True), **options)
        self._task = self._bar.add_task("preparing", total=None, note=unit)

    def start(self):
        """Show it."""
        self._bar.start()

    def stop(self):
        """Leave it as it is, or remove it where it is transient."""
        self._bar.stop()

    def show(self, what, done, of, note=""):
        """Redraw it."""
        self._bar.update(self._task, description=what, completed=done, total=of, note=f"{self._unit}{note}")


@contextmanager
def shown(unit, say, every):
    """Yield ``done(count, of, what)``: a bar in a terminal, else a line every so many seconds and at the end."""
    if in_terminal():
        bar = Bar(unit, transient=True)
        bar.start()
        try:
            yield lambda count, of, what: bar.show(what, count, of)
        finally:
            bar.stop()
        return
    begin = last = time.monotonic()

    def line(count, of, what):
        nonlocal last
        now = time.monotonic()
        if count == of or now - last >= every:
            last = now
            say(f"{count} of {of} {unit} done, {what}, {now - begin:.0f} s")

    yield line
