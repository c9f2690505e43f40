"""Reports to read on a terminal, and for machines."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..report.colors import PLAIN, Colors
from ..report.text import row, short
from .run import BROKEN, HUNG, KEPT, Report, Tried, name_of

SHOWN = 8
"""Failures that are listed one by one; the listing has the lines of all."""

WIDTHS = (13, 18, -8, -8, -8, -8, -8)

FORMAT = 1
"""The version of the JSON: it grows when a key changes its meaning or goes."""


def as_text(reports: Sequence[Report], colors: Colors = PLAIN) -> str:
    """Return a table of all sweeps, then for each that found something where it is."""
    head = ("points", "signal", "tried", KEPT, BROKEN, HUNG, "missed")
    lines = [row(head, WIDTHS)]
    for report in reports:
        kinds = Counter(tried.verdict for tried in report)
        numbers = (len(report.tried), kinds[KEPT], kinds[BROKEN], kinds[HUNG])
        cells = map(str, (*numbers, len(report.missed)))
        line = (report.points, name_of(report.signals), *cells)
        lines.append(row(line, WIDTHS))
    for report in reports:
        if report.failures:
            lines += ["", *_failures(report, colors)]
    if failures := [tried for report in reports for tried in report.failures]:
        lines += _listings(failures, colors)
    lines += _footnotes(reports)
    return "\n".join(lines) + "\n"


def _failures(report: Report, colors: Colors) -> list[str]:
    lines = [f"{report.points}, {name_of(report.signals)}:"]
    for tried in report.failures[:SHOWN]:
        point = tried.point
        place = f"{short(point.file)}:{point.line}: " if point.file else ""
        kind = colors.paint("bad", tried.kind)
        why = f": {tried.why}" if tried.why and tried.verdict == BROKEN else ""
        lines.append(f"  {point.number:>9}  {place}{point.where}: {kind}{why}")
    if (more := len(report.failures) - SHOWN) > 0:
        lines.append(f"  {'…':>9}  and {more} more")
    if alone := report.alone(report.failures[0].point.number):
        lines.append(f"  one alone: {alone}")
    return lines


def _listings(failures: Sequence[Tried], colors: Colors) -> list[str]:
    """Return the source of all functions that broke, with how often at each line."""
    by_file: dict[str, dict[int, Counter[str]]] = defaultdict(dict)
    for tried in failures:
        if tried.point.file and Path(tried.point.file).is_file():
            counts = by_file[tried.point.file].setdefault(tried.point.line, Counter())
            counts[tried.verdict] += 1
    lines = []
    for file, broken in by_file.items():
        source = Path(file).read_text(errors="replace").splitlines()
        lines += ["", f"{short(file)}:"]
        shown = sorted({n + d for n in broken for d in (-2, -1, 0, 1, 2)})
        for earlier, n in zip([0, *shown], shown, strict=False):
            if not 1 <= n <= len(source):
                continue
            if earlier and n != earlier + 1:
                lines.append("     …")
            counts = broken.get(n, Counter())
            mark = ", ".join(f"{counts[k]} {k}" for k in (BROKEN, HUNG) if counts[k])
            mark = colors.paint("bad", f"{mark:>20}") if mark else " " * 20
            lines.append(f"{mark} {n:>5}  {source[n - 1]}".rstrip())
    return lines


def _footnotes(reports: Sequence[Report]) -> list[str]:
    notes = []
    for report in reports:
        if report.seed is not None:
            share = f"{len(report.tried)} of {report.drawn_from} tried"
            notes.append(f"{report.points}: {share}, drawn with seed {report.seed}")
        if report.missed:
            numbers = ", ".join(point.number for point in report.missed[:SHOWN])
            numbers += ", …" if len(report.missed) > SHOWN else ""
            notes.append(
                f"{report.points}: not reached in the run that was to be: {numbers};"
                " the program takes another way at times"
            )
    return ["", *dict.fromkeys(notes)] if notes else []


def as_json(reports: Sequence[Report]) -> str:
    """Return the same and every single point, as JSON with a stable form."""
    return json.dumps(
        {"format": FORMAT, "sweeps": [_sweep(report) for report in reports]}, indent=1
    )


def _sweep(report: Report) -> dict[str, Any]:
    return {
        "target": report.target,
        "points": report.points,
        "signals": [signum.name for signum in report.signals],
        "instructions": report.course,
        "tried": len(report.tried),
        "counts": dict(sorted(report.counts.items())),
        "missed": [point.number for point in report.missed],
        "seed": report.seed,
        "drawn_from": report.drawn_from if report.seed is not None else None,
        "seconds": round(report.seconds, 3),
        "runs": [_run(tried) for tried in report],
    }


def _run(tried: Tried) -> dict[str, Any]:
    point, run = tried.point, tried.run
    cells: dict[str, Any] = {"point": point.number, "where": point.where}
    if point.file:
        cells |= {"file": point.file, "line": point.line}
    if point.call:
        cells |= {"call": point.call, "count": point.count}
    cells |= {"verdict": tried.verdict, "ended": str(run), "status": run.status}
    return cells | ({"why": tried.why} if tried.why else {})
