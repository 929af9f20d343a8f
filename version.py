"""The version of the package, of which every plan and manifest bears a copy."""

VERSION = "0.1.0"
