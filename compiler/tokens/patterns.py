"""Patterns of pre-tokenisers, by what is known of them (`cuts.py`)."""

from __future__ import annotations

_END = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPACES = r"\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"

ENDING_WORDS = {
    "GPT-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "GPT-2, shorter": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "without contractions": rf"{_LETTERS}|\p{{N}}{{1,3}}|{_END}",
    "GPT-4, Llama 3": rf"{_SHORT}|{_LETTERS}|\p{{N}}{{1,3}}|{_END}",
    "Qwen 2": rf"{_SHORT}|{_LETTERS}|\p{{N}}|{_END}",
    "GPT-4o": rf"{_BEFORE}{_UPPER}*{_LOWER}+{_SHORT}?|{_BEFORE}{_UPPER}+{_LOWER}*{_SHORT}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|{_SPACES}",
    "DeepSeek 3": r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|\s*[\r\n]+|{_SPACES}",
}
"""Every piece ends before a space and, after an ASCII letter or digit, before ASCII punctuation other than `'` and before a line
break. Of a run of white space before a space and a letter, `\\s+(?!\\S)` takes what is left before that space."""

SETTING_APART = {r"\p{N}", r"\p{N}{1,3}", r"\d", r"\d+", "[0-9]", "[0-9]+", "[一-龥぀-ゟ゠-ヿ]+"}
"""They match digits, or letters of some scripts, and neither white space nor punctuation."""
