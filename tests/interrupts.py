"""An interrupt at any of the places where Python looks for signals, one after the other."""

import dis
import sys
from functools import cache


class Interrupt(KeyboardInterrupt):
    """What `interrupt_at` raises."""


class _Tracer:
    """Raises `Interrupt` at place number ``place``, counted from 0, in code of the files.

    CPython runs the handlers of signals where a function begins, after a call, and where a loop begins anew;
    between all other instructions no exception comes out of the blue.
    """

    def __init__(self, files, place):
        self.files, self.place, self.seen, self.where = files, place, 0, None
        self._before = {}

    def event(self, frame, event, argument):
        if event == "call":
            if not frame.f_code.co_filename.endswith(self.files):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            self._one_more(frame)
        elif event == "opcode":
            name, following = self._before.get(frame, ("", -1))
            self._before[frame] = _instructions(frame.f_code).get(frame.f_lasti, ("", -1))
            if name.startswith("JUMP_BACKWARD") or (name.startswith("CALL") and frame.f_lasti == following):
                self._one_more(frame)
        elif event == "return":
            self._before.pop(frame, None)
        return self.event

    def _one_more(self, frame):
        self.seen += 1
        if self.seen == self.place + 1:
            self.where = f"{frame.f_code.co_name}, line {frame.f_lineno}"
            self._before.clear()
            raise Interrupt(self.where)


@cache
def _instructions(code):
    """Offset → name of an instruction, and offset of the next."""
    found = [each for each in dis.get_instructions(code) if each.opname not in ("PRECALL", "CACHE")]
    following = [each.offset for each in found[1:]] + [-1]
    return {each.offset: (each.opname, next_one) for each, next_one in zip(found, following, strict=True)}


def interrupt_at(place, files, function):
    """Call ``function()``; returns where it was interrupted, None if it has no place of that number.

    files : tuple of ends of names; code elsewhere is not interrupted

    Raises
    ------
    Whatever ``function`` makes of the `Interrupt`.
    """
    tracer, before = _Tracer(files, place), sys.gettrace()
    sys.settrace(tracer.event)
    try:
        function()
    except Interrupt:
        pass
    finally:
        sys.settrace(before)
    return tracer.where
