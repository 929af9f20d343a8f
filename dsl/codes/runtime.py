"""MCD7xx: the runtime."""

from __future__ import annotations
