"""A model folder or Hub repository -> model and image processor, or one sentence why not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import MODEL_MAPPING, AutoConfig, AutoImageProcessor, AutoModel

from .configuration import ReconstructionConfig
from .errors import first_line
from .image_processing import InspectionImageProcessor
from .reconstruction import ReconstructionModel
from .untrusted import check_config, check_processor, check_weights_fit
from .weights import WeightsError, check_weights_file

# The Hub's client resumes a broken download by itself, but gives up on the first server error.
PAUSES = (1.0, 3.0)  # seconds before the second and the third try
LONGEST_REASON = 300  # characters; what somebody else's library says may repeat a whole config
# What is said of a failure by its cause; of several causes, the first here counts.
SENTENCES = {
    (GatedRepoError, RepositoryNotFoundError): (
        "The model {name} was not found on the Hub, or it is private; check the name, and give an "
        "access token (HF_TOKEN) for a private one."
    ),
    (RevisionNotFoundError,): (
        "The model {name} has no revision {revision}; give a branch, tag or commit that its page "
        "on the Hub lists."
    ),
    (WeightsError,): "{cause}",
    (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, ConnectionError): (
        "The model {name} could not be downloaded from {endpoint} and was not downloaded before; "
        "check the network and try again, or give a model folder."
    ),
}


class ModelLoadError(ValueError):
    """A model can't be loaded or used; the message is one sentence for the person who named it."""


def load_model(
    model: str | os.PathLike,
    *,
    revision: str | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> tuple[ReconstructionModel, InspectionImageProcessor]:
    """Load a model folder or a Hub repository with this project's code; it need not be calibrated.

    The model is in evaluation mode, both are of one commit. Nothing but safetensors is read, and no
    code of the repository is run. Where the Hub can't be reached, what was downloaded earlier is
    taken. Raises `ModelLoadError` when it does not exist, is no model of this project, or damaged.

    Args:
        model: a folder that training wrote, or a Hub id such as "org/bottle".
        revision: branch, tag or commit of the Hub repository.
        token: access token for a private repository; that of the environment if None.
        local_files_only: take what was downloaded earlier and ask nobody.
    """
    name = os.fspath(model)
    if not os.path.isdir(name) and (name.startswith((".", "/", "~")) or name.count("/") != 1):
        raise ModelLoadError(
            f"The model folder {name} does not exist; expected a folder written by "
            "training/train.py or a Hub id ORG/NAME."
        )
    where = {"revision": revision, "token": token, "local_files_only": local_files_only}
    for pause in (*PAUSES, None):
        try:
            return _load(name, where)
        except ModelLoadError:
            raise
        except Exception as error:  # many libraries take part; each raises its own kinds
            if pause is None or not _is_server_error(error):
                raise ModelLoadError(_sentence(name, revision, error)) from error
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _load(name: str, where: dict[str, Any]) -> tuple[ReconstructionModel, InspectionImageProcessor]:
    # The branch may move between two files, so the first one fixes the commit of all.
    where = {**where, "revision": check_config(name, **where) or where["revision"]}
    # A repository that asks for code of its own is refused, not asked about at a prompt.
    no_code = {**where, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(name, **no_code)
    if not isinstance(config, ReconstructionConfig):
        raise ModelLoadError(
            f"The model {name} is a {config.model_type}, not a reconstruction model of this "
            "project; choose another one."
        )
    check_weights_file(name, **where)
    check_weights_fit(MODEL_MAPPING[type(config)], config, name, **where)
    loaded = AutoModel.from_pretrained(name, **no_code)
    processor = AutoImageProcessor.from_pretrained(name, **no_code)
    check_processor(processor, config.image_size)
    return loaded, processor


def _is_server_error(error: Exception) -> bool:
    return any(
        isinstance(cause, HfHubHTTPError) and cause.response.status_code >= 500
        for cause in _chain(error)
    )


def _sentence(name: str, revision: str | None, error: Exception) -> str:
    """Why loading failed, by the error that was the first cause, which others may wrap."""
    causes = list(_chain(error))
    for kinds, sentence in SENTENCES.items():
        for cause in causes:
            if isinstance(cause, kinds):
                facts = {"revision": revision, "endpoint": constants.ENDPOINT, "cause": cause}
                return sentence.format(name=name, **facts)
    reason = first_line(error)
    reason = reason.rstrip(".") if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + ".."
    return (
        f"The model {name} could not be loaded: expected a folder written by training/train.py or "
        f"a Hub repository of this project, found: {reason}."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
