"""What the browser is given to save: CSV as text, and the address of a zip; "" for nothing."""

from __future__ import annotations

from collections.abc import Sequence

from page.inspection.results import Result
from page.inspection.temporary_folder import NoRoomError, TemporaryFolder
from page.markup import address
from page.server.refusals import refusal
from page.session import Session
from page.views.export import csv_text, write_zip

MARK = "\ufeff"  # before a CSV, without which Excel shows "ü" as "Ã¼"


def csv(session: Session) -> str:
    """The result that is shown, as CSV."""
    return MARK + csv_text([session.result]) if session.result else ""


def batch_csv(session: Session) -> str:
    """All results of the batch, as CSV."""
    return MARK + csv_text(session.batch.results) if session.batch else ""


def photo_zip(session: Session) -> str:
    """Address of a zip with the pictures of the result that is shown."""
    return _packed([session.result], session.photo_folder) if session.result else ""


def batch_zip(session: Session) -> str:
    """Address of a zip with the pictures of the whole batch."""
    return _packed(session.batch.results, session.batch.folder) if session.batch else ""


def _packed(results: Sequence[Result], folder: TemporaryFolder) -> str:
    try:
        with folder.in_use() as is_there:
            return address(write_zip(results, folder)) if is_there else ""
    except NoRoomError as error:
        raise refusal(str(error)) from error
