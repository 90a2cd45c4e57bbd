"""The columns of a table of audiograms: seven tones in each ear, and the age."""

from __future__ import annotations

FREQUENCIES = (500, 1000, 2000, 3000, 4000, 6000, 8000)
"""Of the tones, in Hz."""
NAMES = (*(f"{ear}{tone}" for ear in "lr" for tone in FREQUENCIES), "age")
"""Columns, D = 15: thresholds of the left ear, l500 to l8000, of the right one, and the age."""
UNITS = (*("dB HL" for _ in NAMES[:-1]), "years")
