"""Listings from the first page to the last, many cursors side by side."""
