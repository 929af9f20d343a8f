"""Bounds on a spec file, so that reading one always ends and later passes may recurse over the tree."""

from __future__ import annotations

MAX_BYTES = 8 * 2**20
"""Size of one spec file."""

MAX_DECLARATIONS = 50_000
"""How many declarations one spec file may hold."""

MAX_TOKENS = 300_000
"""How many words, marks and numbers one spec file may hold."""

MAX_BRACKETS = 100
"""How many brackets may be open at once."""

MAX_DEPTH = 200
"""Height of a declaration's tree. With four Python frames a level, recursion stays below Python's default of 1,000."""

MAX_DIGITS = 300
"""Length of a number as written."""
