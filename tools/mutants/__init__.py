"""Planted errors: whether the tests notice them. Run by hand, ``python -m tools.mutants``.

``planting`` says what an error is, ``trial`` tries one in a copy of the code, ``run`` tries a set
and keeps the results; ``first`` (with ``first_models``), ``second`` and ``third`` are
the sets.
Results: docs/mutants.md.
"""
