"""MCD2xx: names and imports."""

from __future__ import annotations
