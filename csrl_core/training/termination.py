"""SIGTERM and SIGHUP end a fit as Ctrl-C does: by an exception, so that what was learnt until then is kept.

Schedulers, containers and terminals that close send them. They are left alone where the program handles or ignores
them itself (``nohup``), and outside of the main thread, where Python handles no signals.
"""

import signal
import threading
from contextlib import contextmanager


class Terminated(SystemExit, KeyboardInterrupt):
    """SIGTERM came. Who catches KeyboardInterrupt catches it too; not caught, it ends the program with code 128 + the
    signal's number, as shells have it.
    """

    signal = signal.SIGTERM

    def __init__(self):
        super().__init__(128 + self.signal)


KINDS = [Terminated]

if hasattr(signal, "SIGHUP"):

    class HungUp(Terminated):
        """SIGHUP came: the terminal was closed."""

        signal = signal.SIGHUP

    KINDS.append(HungUp)


def _raise(number, frame):
    raise next(kind for kind in KINDS if kind.signal == number)


@contextmanager
def raised(handler=_raise):
    """Context in which SIGTERM and SIGHUP raise `Terminated` and ``HungUp``, unless they are handled or ignored.

    handler : function (number, frame) that is called instead
    """
    mine = threading.current_thread() is threading.main_thread()
    numbers = [kind.signal for kind in KINDS if mine and signal.getsignal(kind.signal) is signal.SIG_DFL]
    try:
        for number in numbers:
            signal.signal(number, handler)
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
