"""A compiled dataset for everybody else's tools: Parquet, a dataset card, Croissant metadata."""
