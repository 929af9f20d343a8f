"""What compiling writes and what reads it back: shards, vectors, the output directory."""
