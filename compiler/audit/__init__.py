"""A compiled dataset, looked at as a whole: everything that is wrong with it, found in one pass over its files."""
