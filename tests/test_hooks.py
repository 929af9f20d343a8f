"""The hooks for pre-commit name commands that there are."""

from __future__ import annotations

import re
from pathlib import Path

from mcd.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]


def test_hooks_run_commands():
    text = (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")
    hooks = dict(re.findall(r"^- id: (\S+)$.*?^  entry: mcd (\w+)$", text, re.MULTILINE | re.DOTALL))
    assert hooks == {"mcd-check": "check", "mcd-fmt": "fmt"}
    assert set(hooks.values()) <= set(COMMANDS)
    told = (ROOT / "docs" / "ci.md").read_text("utf-8")
    assert all(f"id: {hook}" in told for hook in hooks)
