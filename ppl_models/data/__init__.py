"""Generating processes and loaders of data; no data sets."""
