"""Snapshots that were tampered with."""

import json


def edit_manifest(snapshot, change):
    """Let a function change the manifest of a snapshot in place."""
    path = snapshot.path / "_trackstar_frames.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(manifest))
