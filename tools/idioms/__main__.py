"""Print the table of idioms, or write its page."""

from __future__ import annotations

import sys

from tools.idioms.page import PAGE, page
from tools.idioms.table import ROWS, cells_of

only = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
rows = {}
for name in ROWS:
    if not only or any(word in name for word in only):
        rows[name] = dict(cells_of(name))
        print(name, {c: w for c, w in rows[name].items() if w != "right"}, flush=True)
if "--write" in sys.argv:
    PAGE.write_text(page(rows))
