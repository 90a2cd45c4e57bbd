"""Measures of how good an answer is."""
