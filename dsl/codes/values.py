"""MCD3xx: types and values."""

from __future__ import annotations
