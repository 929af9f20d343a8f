"""Definitions of span and edge sets, evaluated over batches of records."""
