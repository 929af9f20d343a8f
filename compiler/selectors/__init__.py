"""The selectors: one file each, listed in `registry.py`."""
