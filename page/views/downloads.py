"""What is said while a visitor waits for a model."""

from __future__ import annotations

from page.languages import Translation
from page.markup import decimal, said
from page.models.downloads import DownloadProgress

MEGABYTE = 1e6


def download_html(progress: DownloadProgress, text: Translation) -> str:
    """What is awaited, in words and as a bar; the bar has no value while there is no telling."""
    names = {"model": progress.model, "file": progress.file}
    if not progress.file:
        label, value = said(text, "download.loading", model=progress.model), ""
    elif progress.total < MEGABYTE / 10:  # there before anyone has read the figure
        label, value = said(text, "download.file", **names), ""
    else:
        done, total = (_megabytes(count, text) for count in (progress.done, progress.total))
        label = said(text, "download.bytes", done=done, total=total, **names)
        value = f' value="{progress.done}" max="{progress.total}"'
    return (
        f'<div class="download" role="status"><p>{label}</p>'
        f'<progress aria-label="{label}"{value}></progress></div>'
    )


def _megabytes(count: int, text: Translation) -> str:
    return decimal(f"{count / MEGABYTE:.1f}", text)
