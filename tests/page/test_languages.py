"""Every language says the same: the same keys, the same values in their places."""

from __future__ import annotations

import re
from string import Formatter

import pytest
import yaml
from conftest import ROOT

from page.languages import DEFAULT, FOLDER, NAMES, all_words, closest_language, text_in

OTHERS = [language for language in NAMES if language != DEFAULT]


def placeholders(words: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(words) if name is not None}


def test_there_is_a_file_for_each_language_and_no_other():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(NAMES)


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_has_the_keys_of_english(language):
    words = all_words()
    assert words[language].keys() == words[DEFAULT].keys()


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_fills_in_the_same_values_as_english(language):
    words = all_words()
    differing = {
        key: (placeholders(english), placeholders(words[language][key]))
        for key, english in words[DEFAULT].items()
        if placeholders(english) != placeholders(words[language][key])
    }
    assert not differing


@pytest.mark.parametrize("language", NAMES)
def test_all_words_are_words(language):
    for key, words in all_words()[language].items():
        assert isinstance(words, str), key  # YAML takes No, 1 and 12:30 for something else
        assert words.strip() == words != "", key


@pytest.mark.parametrize("language", NAMES)
def test_no_key_is_written_twice(language):
    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [key.value for key, _ in node.value]
            assert len(keys) == len(set(keys)), [key for key in keys if keys.count(key) > 1]
            return super().construct_mapping(node, deep)

    yaml.load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8"), Strict)


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_is_translated(language):
    words = all_words()
    long = [key for key, english in words[DEFAULT].items() if len(english.split()) > 3]
    same = [key for key in long if words[language][key] == words[DEFAULT][key]]
    assert not same


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        (["de-AT", "en"], "de"),
        (["fr", "es-MX"], "es"),
        (["zh-Hant-TW"], "zh"),
        ([" JA "], "ja"),
        (["fr", "it"], "en"),
        ([""], "en"),
        ([], "en"),
    ],
)
def test_the_closest_language(wanted, language):
    assert closest_language(wanted) == language


def test_an_unknown_language_is_answered_in_english():
    assert text_in("fr").language == text_in(None).language == "en"


def test_the_browser_knows_the_same_languages():
    listed = re.search(r"KNOWN = (\[.*?\])", (ROOT / "page" / "static" / "head.js").read_text())[1]
    assert yaml.safe_load(listed) == list(NAMES)
