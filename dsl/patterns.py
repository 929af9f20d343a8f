"""Regular expressions as a spec has them: RE2, without backtracking, in time linear in the text. The only module that imports it.

The checker and the compiler build a pattern in the same way, so that one that was accepted is never refused later.
"""

from __future__ import annotations

from typing import Any

import re2


class PatternRefused(ValueError):
    """The engine refuses a pattern; the message is the engine's reason."""


def compiled(pattern: str, ignore_case: bool) -> Any:
    """A pattern over UTF-8 bytes: leftmost-longest whatever the order of its alternatives. Raises PatternRefused."""
    options = re2.Options()
    options.log_errors = False  # it would print them
    options.longest_match = True
    options.never_capture = True
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        raise PatternRefused(said.decode(errors="replace") if isinstance(said, bytes) else str(said)) from None
