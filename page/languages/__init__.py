"""Every word of the page, one YAML file a language, and how the words are looked up."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
DEFAULT = "en"
NAMES = {"en": "English", "de": "Deutsch", "es": "Español", "ja": "日本語", "zh": "中文"}


class Translation:
    """The words of one language.

    Example:
        >>> Translation("en")("verdict.score")
        'Score'
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._words = _words_of(language)

    def __call__(self, key: str, **values: Any) -> str:
        """The words of a key such as "batch.done", with `values` in their places.

        Raises:
            KeyError: when the language has no such key.
        """
        words = self._words[key]
        return words.format(**values) if values else words

    def number(self, value: float, form: str) -> str:
        """A number in the form that `format` takes, such as ".3f", with the decimal mark."""
        return format(value, form).replace(".", self("verdict.decimal_mark"))


def text_in(language: str | None) -> Translation:
    """The words of a language that the page knows, of `DEFAULT` for any other."""
    return Translation(closest_language([language or DEFAULT]))


def closest_language(wanted: Iterable[str]) -> str:
    """The first of the wanted languages that the page knows, by its main tag ("de-AT" is "de")."""
    tags = (tag.strip().lower().split("-")[0] for tag in wanted)
    return next((tag for tag in tags if tag in NAMES), DEFAULT)


def all_words() -> dict[str, dict[str, str]]:
    """By language, every key and its words, as `gr.I18n` takes them."""
    return {language: _words_of(language) for language in NAMES}


@cache
def _words_of(language: str) -> dict[str, str]:
    sections = yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return {
        f"{section}.{name}": words
        for section, entries in sections.items()
        for name, words in entries.items()
    }
