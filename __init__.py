"""mcd: a declarative language, compiler and runtime for datasets that supervise what happens inside a transformer."""
