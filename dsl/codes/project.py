"""MCD25x: what a project, a comment or a baseline says about findings. MCD28x: what it and the command line say of URLs."""

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

BAD_REMOTE = Code("MCD280", "bad-remote", "A remote folder of a project is not declared as it should be.")
REMOTE_SECRET = Code("MCD281", "remote-secret", "A remote folder of a project is declared with a secret.")
REMOTE_SCHEME = Code("MCD282", "remote-scheme", "A URL has a scheme that mcd does not read from, or write to.")
REMOTE_WILDCARD = Code("MCD283", "remote-wildcard", "A pattern would reach into a remote folder by a wildcard.")
REMOTE_OUTPUT = Code("MCD284", "remote-output", "A dataset is to go to a URL, which the command does not allow.")
REMOTE_TAKEN = Code("MCD285", "remote-taken", "The URL that a dataset is to go to holds something else.")
REMOTE_DIFFERS = Code("MCD286", "remote-differs", "What lies at a URL is not what was put there.")
