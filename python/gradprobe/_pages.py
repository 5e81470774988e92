"""Several reports on one page."""

from __future__ import annotations

from collections.abc import Sequence

from ._report import Report, escaped


def page(reports: Sequence[tuple[str, Report]]) -> str:
    """Returns a page with a frame for each report, which keeps their styles apart."""
    rows = []
    for name, report in reports:
        source = escaped(report.to_html())
        rows.append(
            f"<h2>{escaped(name)}</h2><p>{escaped(report.headline)}</p>"
            f'<iframe srcdoc="{source}" title="{escaped(name)}"></iframe>'
        )
    body = "".join(rows) or "<p>Every gradient passed.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>gradprobe</title>'
        '<meta name="viewport" content="width=device-width">'
        "<style>body{font:16px system-ui,sans-serif;margin:2em auto;max-width:70em;"
        "padding:0 1em}iframe{width:100%;height:80vh;border:1px solid #8888}"
        ":root{color-scheme:light dark}</style></head>"
        f"<body><h1>gradprobe</h1>{body}</body></html>\n"
    )
