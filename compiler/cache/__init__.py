"""What tasks read and tokenised, kept for the next run: see `cache`."""
