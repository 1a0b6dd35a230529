"""How programs reach the app: the page's panel about it."""

from __future__ import annotations

import json

from page.languages import Translation
from page.markup import render


def programs_html(text: Translation, address: str, category: str, has_mcp: bool) -> str:
    """A short panel for the page: the three names, and an example to copy, of that category.

    The address is where the app runs, such as "http://127.0.0.1:7860/"; `has_mcp` says whether the
    functions are offered as MCP tools.
    """
    words = {"text": text, "address": address, "category": json.dumps(category)}
    return render("programs.html", **words, has_mcp=has_mcp)
