"""MCD4xx: the model contract."""

from __future__ import annotations
