"""Ctrl-C while LLVM compiles.

LLVM calls Python back from C, where an exception can be reported but not raised: whatever a signal's handler raises
there is lost, and with it a Ctrl-C, a first fit being mostly compilation. So it is raised again, a moment later.
"""

import ctypes
import sys
import threading
import time

try:
    from llvmlite.binding.executionengine import ExecutionEngine
except ImportError:  # then nothing compiles
    ExecutionEngine = None

_NAMES = "_raw_object_cache_notify", "_raw_object_cache_getbuffer"  # llvmlite's own: other versions may lack them
_CALLBACKS = [getattr(ExecutionEngine, name) for name in _NAMES if hasattr(ExecutionEngine, name)]
_MOMENT = 0.01  # seconds, after which the callback has returned; if it meets another one it is lost and raised again

_swallowed = []  # kinds of exceptions
_report = sys.unraisablehook


def take():
    """The kind of a lost exception that nobody has raised again, or None: whoever takes it has to raise it.

    None where signals are not handled: the exception is not for other threads.
    """
    return _pop() if _here() else None


def _here():
    return threading.current_thread() is threading.main_thread()


def _pop():
    try:
        return _swallowed.pop()
    except IndexError:
        return None


def _keep(unraisable):
    if not _here() or unraisable.object not in _CALLBACKS:
        _report(unraisable)
        return
    _swallowed.append(unraisable.exc_type)
    threading.Thread(target=_raise_again, daemon=True).start()


def _raise_again():
    time.sleep(_MOMENT)
    kind = _pop()
    if kind is not None:
        main = ctypes.c_ulong(threading.main_thread().ident)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(main, ctypes.py_object(kind))


sys.unraisablehook = _keep
