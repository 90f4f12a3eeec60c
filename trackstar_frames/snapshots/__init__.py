"""Snapshots: what the orders were at one moment, kept under a root."""
