"""Where snapshots lie: the only code that renames, links, flushes or locks their paths."""
