"""What `mcd init` lays out: a small project that checks, compiles and trains as it is."""
