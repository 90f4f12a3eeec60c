"""Snapshots: what the orders were at one moment, in a folder under a root.

A snapshot has a folder of Parquet files for each table, and a manifest. Its orders are sorted and
cut into parts; part n has the file ``part-<n>.parquet`` in each table's folder.
"""
