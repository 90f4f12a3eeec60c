"""Listings, from the first page to the last, in several threads."""
