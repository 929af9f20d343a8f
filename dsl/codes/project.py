"""MCD25x: what a project, a comment or a baseline says about findings."""

from __future__ import annotations

from ..diagnostics import Code, Severity

BAD_PROJECT = Code("MCD250", "bad-project", "The file that configures a project is not what it should be.")
UNKNOWN_KEY = Code("MCD251", "unknown-key", "The file that configures a project has a key that nothing reads.")
UNKNOWN_CODE = Code("MCD252", "unknown-code", "No finding has the id or the name.")
NO_WARNING = Code("MCD253", "no-warning", "An error cannot be allowed, or be less than an error.")
TWO_PROJECTS = Code(
    "MCD254",
    "two-projects",
    "Two files configure the project, and `mcd.toml` alone is read.",
    Severity.WARNING,
)
UNUSED_ALLOW = Code("MCD255", "unused-allow", "A comment allows a warning that does not come.", Severity.WARNING)
BAD_ALLOW = Code("MCD256", "bad-allow", "A comment for mcd is not one that it reads.", Severity.WARNING)
BAD_BASELINE = Code("MCD257", "bad-baseline", "The file is no baseline, or cannot be read.")
STALE_BASELINE = Code(
    "MCD258", "stale-baseline", "A baseline holds a finding that does not come any more.", Severity.WARNING
)
