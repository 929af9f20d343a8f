"""Spans in bytes to ranges of tokens: alignment, cutting, and the fields and rows that follow."""
