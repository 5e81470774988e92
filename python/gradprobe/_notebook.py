"""The report in a notebook."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ._html import escaped

if TYPE_CHECKING:
    from ._report import Check, Report

# Every rule is limited to the report, and colours follow those of the page, so that a notebook
# looks the same with or without it.
STYLE = """
<style>
.gradprobe-report {{ font-size: 14px; line-height: 1.45; max-width: 60em; color: inherit; }}
.gradprobe-report .gradprobe-verdict {{ font-weight: 600; padding: 0 .4em; border-radius: 3px;
  color: #fff; background: {colour}; }}
.gradprobe-report dl {{ display: grid; grid-template-columns: max-content 1fr; margin: .4em 0;
  gap: .1em 1em; }}
.gradprobe-report dt {{ opacity: .7; }}
.gradprobe-report dd {{ margin: 0; }}
.gradprobe-report table {{ border-collapse: collapse; font-variant-numeric: tabular-nums;
  color: inherit; background: none; }}
.gradprobe-report th, .gradprobe-report td {{ padding: .1em .8em .1em 0; text-align: right;
  border: 0; color: inherit; background: none; font-weight: normal; }}
.gradprobe-report th {{ opacity: .7; }}
.gradprobe-report svg text {{ fill: currentColor; font-size: 11px; }}
</style>
"""
COLOURS = {"pass": "#1a7f37", "inconclusive": "#9a6700", "fail": "#cf222e"}
SHOWN = 5


def fragment(report: Report) -> str:
    """Returns a fragment of HTML that styles nothing but itself."""
    style = STYLE.format(colour=COLOURS[report.verdict])
    parts = [_of_check(check) for check in report.checks]
    notes = "".join(f"<p>{escaped(note)}.</p>" for note in report.notes)
    return f'{style}<div class="gradprobe-report">{"".join(parts)}{notes}</div>'


def _of_check(check: Check) -> str:
    verdict, _, sentence = check.headline.partition(": ")
    lines = [
        f'<p><span class="gradprobe-verdict" style="background:{COLOURS[check.verdict]}">'
        f"{escaped(verdict)}</span> {escaped(sentence)}</p>"
    ]
    facts = []
    if check.findings:
        first = check.findings[0]
        facts = [("cause", first.code), ("fix", first.fix)]
        if check.where:
            facts.append(("where", check.where))
    rows = "".join(f"<dt>{name}</dt><dd>{escaped(text)}</dd>" for name, text in facts)
    lines.append(f"<dl>{rows}</dl>" if rows else "")
    if check.verdict == "fail":
        lines += [_worst(check), _scale(check)]
    return "".join(lines)


def _worst(check: Check) -> str:
    head = "".join(f"<th>{it}</th>" for it in ("entry", "analytic", "numeric", "relative error"))
    rows = []
    for entry in check.worst[:SHOWN]:
        place = f"{check.name}[{','.join(map(str, entry.index))}]"
        numbers = (f"{entry.analytic:.6g}", f"{entry.numeric:.6g}", f"{entry.rel_err:.2g}")
        cells = "".join(f"<td>{cell}</td>" for cell in (escaped(place), *numbers))
        rows.append(f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _scale(check: Check) -> str:
    """Draws the relative errors of all entries on a scale of powers of ten."""
    first, last, width = -16, 1, 340

    def x(value: float) -> float:
        power = math.log10(value) if value > 0 else first
        return 20 + width * (min(max(power, first), last) - first) / (last - first)

    marks = ['<text x="20" y="12">relative errors</text>']
    for power in range(first, last + 1, 4):
        place = x(10.0**power)
        marks.append(f'<text x="{place:.1f}" y="46" text-anchor="middle">1e{power}</text>')
    for name, dy in (("mean", 12), ("max", 12)):
        value = check.rel_err[name]
        place = x(value)
        marks.append(
            f'<line x1="{place:.1f}" x2="{place:.1f}" y1="16" y2="32" stroke="{COLOURS["fail"]}" '
            f'stroke-width="2"><title>{name} {value:.2g}</title></line>'
        )
        anchor, gap = ("end", -3) if name == "mean" else ("start", 3)
        marks.append(f'<text x="{place + gap:.1f}" y="{dy}" text-anchor="{anchor}">{name}</text>')
    label = f"relative errors: mean {check.rel_err['mean']:.2g}, max {check.rel_err['max']:.2g}"
    return (
        f'<svg width="{width + 70}" height="50" role="img" aria-label="{label}">'
        f'<line x1="20" x2="{width + 20}" y1="32" y2="32" stroke="currentColor" opacity=".5"/>'
        f"{''.join(marks)}</svg>"
    )
