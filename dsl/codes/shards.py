"""MCD6xx: shards and plan."""

from __future__ import annotations
