"""What every HTML page of the package has."""

from __future__ import annotations

import html
from collections.abc import Iterable


def escaped(text: str) -> str:
    """Returns text for HTML."""
    return html.escape(text, quote=True)


def page(title: str, body: str) -> str:
    """Returns a page that loads nothing, in light or dark colours as the reader has them."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escaped(title)}</title><style>:root{{color-scheme:light dark}}"
        "body{font-family:system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
        "iframe{width:100%;height:80vh;border:1px solid #8888}"
        f"</style></head><body><h1>{escaped(title)}</h1>{body}</body></html>\n"
    )


def framed(pages: Iterable[tuple[str, str, str]]) -> str:
    """Returns a page with a frame for each name, headline and page. Frames keep styles apart."""
    rows = [
        f"<h2>{escaped(name)}</h2><p>{escaped(headline)}</p>"
        f'<iframe srcdoc="{escaped(source)}" title="{escaped(name)}"></iframe>'
        for name, headline, source in pages
    ]
    return page("gradprobe", "".join(rows) or "<p>Every gradient passed.</p>")
