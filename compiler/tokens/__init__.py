"""Text to token ids, and where each token lies in its text."""
