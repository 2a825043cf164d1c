"""The results of `csrl_core.contract.verify` as one HTML file: a table a stem, worst cases first; no network needed."""

import platform
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from itertools import groupby

from csrl_core import contract
from csrl_core._version import __version__

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c1c1c; }
table { border-collapse: collapse; width: 100%; font-size: 13px; margin: .5rem 0 2rem; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.failed td { background: #fde3e0; }
.bar { display: inline-block; width: 8rem; height: .6rem; background: #eee; margin-right: .5rem; }
.bar i { display: block; height: 100%; background: #3b76af; }
tr.failed .bar i { background: #c0392b; }
"""
_COLUMNS = ("function", "case", "backend", "dtype", "error", "budget", "part of budget", "where", "seconds")


def html(results, missing=()):
    """The report as text.

    results : list of `verify.Result`; missing : list of (backend's name, stem) that there are no kernels for
    """
    failed = sum(not result.ok for result in results)
    verdict = f"{failed} of {len(results)} cases FAILED" if failed else f"all {len(results)} cases agree"
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>csrl verify: {verdict}</title>",
        f"<style>{_STYLE}</style><h1>Agreement with the NumPy reference: {verdict}</h1>",
        f"<p>{escape(_machine())}</p>",
        "<p>Every case is run by the reference in float64. An array may differ from that by twice the error that the "
        "reference itself makes in the dtype, and a floor of some roundings of its largest entry.</p>",
    ]
    parts += [f"<p>{escape(backend)} has no stem {escape(stem)}: not compared.</p>" for backend, stem in missing]
    order = {stem: number for number, stem in enumerate(contract.STEMS)}
    for stem, group in groupby(sorted(results, key=lambda result: order[result.stem]), key=lambda result: result.stem):
        rows = sorted(group, key=lambda result: (result.ok, -result.ratio))
        wrong = sum(not row.ok for row in rows)
        parts.append(f"<h2>{escape(stem)}: {f'{wrong} FAILED' if wrong else 'ok'}, {len(rows)} cases</h2><table><tr>")
        parts.append("".join(f"<th>{column}</th>" for column in _COLUMNS) + "</tr>")
        parts += [_row(row) for row in rows]
        parts.append("</table>")
    return "\n".join(parts) + "</html>\n"


def _row(result):
    width = 100 if not result.ok else min(100.0, 100 * result.ratio)
    numbers = [f"{result.worst_error:.3g}", f"{result.budget:.3g}"]
    cells = [f"<td>{escape(text)}</td>" for text in (result.function, result.case, result.backend, result.dtype)]
    cells += [f"<td class='number'>{number}</td>" for number in numbers]
    cells.append(f"<td><span class='bar'><i style='width:{width:.1f}%'></i></span>{result.ratio:.2g}</td>")
    cells.append(f"<td>{escape(result.where)}</td><td class='number'>{result.seconds:.2g}</td>")
    return f"<tr{'' if result.ok else ' class=failed'}>{''.join(cells)}</tr>"


def _machine():
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "numba"))
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"csrl_core {__version__}, {libraries}, Python {platform.python_version()}, {platform.machine()}; {now}"
