"""Chat templates: read, parsed and held against the part of Jinja that is rendered here."""
