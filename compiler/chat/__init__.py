"""Chat templates: messages to text, with the place of every message. A pure, bounded interpreter of jinja2's syntax tree."""
