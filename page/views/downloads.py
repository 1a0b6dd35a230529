"""What is said while a visitor waits for a model."""

from __future__ import annotations

from page.languages import Translation
from page.markup import render
from page.models.downloads import DownloadProgress

MEGABYTE = 1e6


def download_html(progress: DownloadProgress, text: Translation) -> str:
    """What is awaited, in words and as a bar; the bar has no value while there is no telling."""
    names = {"model": progress.model, "file": progress.file}
    total = 0
    if not progress.file:
        label = text("download.loading", **names)
    elif progress.total < MEGABYTE / 10:  # there before anyone has read the figure
        label = text("download.file", **names)
    else:
        total = progress.total
        sizes = [text.number(count / MEGABYTE, ".1f") for count in (progress.done, total)]
        label = text("download.bytes", done=sizes[0], total=sizes[1], **names)
    return render("download.html", label=label, done=progress.done, total=total)
