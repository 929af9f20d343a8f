"""MCD1xx: syntax."""

from __future__ import annotations
