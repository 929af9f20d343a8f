"""Checked program -> plan and recipe -> shards."""
