"""Syntax tree -> checked program."""
