"""An exported graph that can't be used leaves the model to torch; `tests/publishing` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeling import Autoencoder, AutoencoderConfig, ModelLoadError, backbones, backends
from modeling.errors import first_line

INSTALLED = "json"  # the name of a library that is there, in the place of a runtime's
WORDLESS = [MemoryError(), TimeoutError(), RuntimeError(" \n ")]


@pytest.fixture(params=WORDLESS, ids=lambda error: type(error).__name__)
def error(request) -> Exception:
    return request.param


@pytest.fixture
def model() -> Autoencoder:
    return Autoencoder(AutoencoderConfig(target="pixels", image_size=64, hidden_sizes=[8, 16]))


@pytest.fixture
def folder(tmp_path, monkeypatch, error) -> Path:
    """A folder with a graph that no runtime can load."""

    def load(path: Path) -> None:
        raise error

    (tmp_path / "graph").touch()
    monkeypatch.setattr(backends, "RUNTIMES", {INSTALLED: backends.Runtime("graph", (), load)})
    return tmp_path


def test_an_error_without_words_falls_back_to_torch(model, folder):
    assert backends.load_detector(model, folder, backends.AUTO) == (model, backends.TORCH)


def test_an_error_without_words_is_told_by_its_kind(model, folder, error):
    with pytest.raises(ModelLoadError, match=f"graph could not be read .{type(error).__name__}.;"):
        backends.load_detector(model, folder, INSTALLED)


def test_a_backbone_that_fails_without_words_is_one_sentence(monkeypatch, error):
    def load(name: str) -> None:
        raise error

    monkeypatch.setattr(backbones.AutoConfig, "from_pretrained", load)
    with pytest.raises(backbones.BackboneError, match=f"found: {type(error).__name__}$"):
        backbones.load_backbone("org/backbone", [1])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n one\r\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (KeyError("x"), "'x'"),
    ],
)
def test_the_first_line_is_never_empty(error, line):
    assert first_line(error) == line
