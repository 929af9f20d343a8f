"""MCD5xx: sources and alignment."""

from __future__ import annotations
