"""What every upload needs: a well-formed id, a token, and errors in one sentence."""

from __future__ import annotations

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import get_token, validate_repo_id


class UploadError(RuntimeError):
    """An upload failed; the message is one sentence for the person, and nothing is lost."""


def check_upload(repo: str) -> None:
    """Raise a ValueError unless an id is ORG/NAME and there is a token to write with."""
    try:
        validate_repo_id(repo)
        _, _ = repo.split("/")
    except (HFValidationError, ValueError) as error:
        raise ValueError(f"The Hub id must be ORG/NAME, found {repo!r}.") from error
    if not get_token():
        raise ValueError(
            "There is no access token to write to the Hub with; run `hf auth login` or set "
            "HF_TOKEN."
        )
