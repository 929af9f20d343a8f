"""What is dubious in a spec that may well be right: warnings, all of them.

Takes what a check knows. Passes over names work on every file, also beside errors; those over rules need the whole program.
What a project or a comment makes of a finding is for `levels`.
"""

from __future__ import annotations

from ..check import Checked
from .shadows import check_shadows
from .silent import check_silent
from .unused import check_unused


def lint(checked: Checked) -> None:
    """Add the warnings about a spec to the findings of its check."""
    if checked.state is not None:
        check_unused(checked.state)
        check_shadows(checked.state)
    if checked.program is not None:
        check_silent(checked.program, checked.findings)
