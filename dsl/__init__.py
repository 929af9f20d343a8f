"""Spec text -> syntax tree -> checked program."""
