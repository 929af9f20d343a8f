"""Shards -> batches -> losses. The only package that imports torch."""
