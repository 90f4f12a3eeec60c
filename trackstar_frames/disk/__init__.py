"""Tables on disk: whole or not at all, described by a manifest, and found again."""
