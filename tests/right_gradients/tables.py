"""Rows of verdicts, and the tables that count them."""
import math
from collections import Counter, defaultdict
from statistics import median

VERDICTS = ("pass", "inconclusive", "fail")
WRT = ("input", "logits", "weight", "bias")
KEPT = ("file", "family", "dtype", "n", "d", "k")


def row(recipe, check):
    """Returns what is counted of one gradient."""
    return {name: recipe[name] for name in KEPT} | {
        "wrt": check["wrt"],
        "verdict": check["verdict"],
        "detectable": check["detectable"],
        "worst": max(map(severity, check["worst"]), default=None),
        "codes": [finding["code"] for finding in check["findings"]],
    }


def severity(entry):
    """Returns |analytic - numeric| over what is allowed."""
    error = abs(number(entry["analytic"]) - number(entry["numeric"]))
    allowed = number(entry["tolerance"]) + number(entry["noise"])
    return error / allowed if allowed else error and math.inf


def number(value):
    """Reads a number of gradprobe's JSON, where infinity is the string "inf"."""
    return float("nan") if value is None else float(value)


def merge(results):
    whole = {"rows": [], "promises": [], "excluded": Counter(), "errors": [], "cpu": 0.0}
    for result in results:
        whole["cpu"] += result["cpu"]
        for name in ("rows", "promises", "errors"):
            whole[name] += result[name]
        whole["excluded"].update(result["excluded"])
    return whole


def render(result, promise):
    rows = result["rows"]
    parts = [by_family(rows), counted(rows, ("family",)), counted(rows, ("dtype", "wrt"))]
    parts.append(failures(rows))
    parts.append(sharpness(rows))
    if promise:
        parts.append(promises(result["promises"]))
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(result["excluded"].items()) if count)
    verdicts = Counter(row["verdict"] for row in rows)
    counts = ", ".join(f"{verdicts[verdict]:,} {verdict}" for verdict in VERDICTS)
    parts.append(f"{len(rows):,} right gradients: {counts}; left out: {left_out or 'none'}")
    parts.append(f"{result['seconds']:.0f} s, processors {result['cpu']:.0f} s")
    if result["errors"]:
        parts.append(f"{len(result['errors'])} files refused, the first: {result['errors'][0]}")
    return "\n\n".join(filter(None, parts))


def by_family(rows):
    """Tabulates pass/inconclusive/fail of each formulation and dtype, a column for each gradient."""
    groups = defaultdict(Counter)
    for row in rows:
        groups[row["family"], row["dtype"]][row["wrt"], row["verdict"]] += 1
    lines = [("pass/inconclusive/fail", "dtype", *WRT)]
    for group, counts in sorted(groups.items()):
        cells = ("/".join(str(counts[wrt, verdict]) for verdict in VERDICTS) for wrt in WRT)
        lines.append((*group, *cells))
    return aligned(lines)


def counted(rows, names):
    groups = defaultdict(Counter)
    for row in rows:
        groups[tuple(row[name] for name in names)][row["verdict"]] += 1
    lines = [(*names, *VERDICTS, "inconclusive %")]
    for group, counts in sorted(groups.items()):
        share = 100 * counts["inconclusive"] / counts.total()
        lines.append((*group, *(counts[verdict] for verdict in VERDICTS), f"{share:.1f}"))
    return aligned(lines)


def failures(rows):
    failed = sorted((row for row in rows if row["verdict"] == "fail"), key=lambda row: -number(row["worst"]))
    if not failed:
        return ""
    lines = [("failed", "wrt", "dtype", "n", "d", "k", "error/allowed", "codes")]
    for row in failed[:40]:
        cells = (row[name] for name in ("file", "wrt", "dtype", "n", "d", "k"))
        lines.append((*cells, f"{number(row['worst']):.3g}", ",".join(row["codes"])))
    return aligned(lines)


def sharpness(rows):
    """Tabulates the uniform error that passes say they would have detected, by the size of the batch."""
    groups = defaultdict(list)
    for row in rows:
        if row["verdict"] == "pass" and row["detectable"]:
            size = "n < 64" if row["n"] < 64 else "n < 1024" if row["n"] < 1024 else "n >= 1024"
            groups[row["wrt"], row["dtype"], size].append(number(row["detectable"]))
    lines = [("detects", "dtype", "rows", "passes", "median", "90 %", "worst")]
    for group, values in sorted(groups.items()):
        values.sort()
        figures = (median(values), values[len(values) * 9 // 10], values[-1])
        lines.append((*group, len(values), *(f"{value:.2g}" for value in figures)))
    return aligned(lines)


def promises(rows):
    groups = defaultdict(Counter)
    for row in rows:
        groups[row["wrt"], row["dtype"]][row["verdict"]] += 1
    lines = [("scaled", "dtype", *VERDICTS)]
    for group, counts in sorted(groups.items()):
        lines.append((*group, *(counts[verdict] for verdict in VERDICTS)))
    total = Counter(row["verdict"] for row in rows)
    return aligned(lines) + f"\n{len(rows):,} scaled gradients: {len(rows) - total['fail']:,} do not fail"


def aligned(lines):
    lines = [[str(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
