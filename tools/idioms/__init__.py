"""Pyro's idioms against the functions of the engine: every cell right, or refused in clear words.

    python -m tools.idioms            # print the table
    python -m tools.idioms --write    # and write docs/idioms.md

A cell is "right" only if the function's answer was compared with a value that is known otherwise: a
closed form, or a sum over all values (`tools.idioms.truth`). The tests run the same cells.
"""

from __future__ import annotations
