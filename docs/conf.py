"""The site: Sphinx and MyST-NB over docs/ and notebooks/. Build it with ``make docs``.

The root of the sources is the repository's, so that links between notebooks and pages are the same
in Jupyter, on a git host and here. Nothing is fetched: MathJax and fonts are copied from packages.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

from tools import prose, reference
from tools.run_lessons import cache_folder, cached, lessons

ROOT = Path(__file__).parents[1]

project = "ppl-models"
author = "the ppl-models authors"
copyright = f"2026, {author}"
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*.ipynb"]
exclude_patterns = ["docs/lessons", "**/.ipynb_checkpoints"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_design",
]

# Pages
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # listings of shell and equations as text
highlight_language = "python"

# Lessons: `tools.run_lessons` has executed them into this cache. None is executed here.
nb_execution_mode = "cache"
nb_execution_excludepatterns = [f"notebooks/{p.name}" for p in lessons() if not cached(p)]
nb_execution_cache_path = str(cache_folder())
nb_output_stderr = "remove"
nb_ipywidgets_js = {}  # progress bars need no scripts, and none are fetched
nb_merge_streams = True
nb_render_text_lexer = "text"

# Docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # they are in the docstrings, with shapes and units
autodoc_default_options = {"show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "py:obj"
add_module_names = False
toc_object_entries_show_parents = "hide"

# Looks
html_theme = "pydata_sphinx_theme"
html_title = "ppl-models"
html_extra_path = ["_site"]  # index.html at the root leads here
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"docs/index": [], "docs/lecture": []}
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "header_links_before_dropdown": 8,
}
mathjax_path = "mathjax/tex-chtml.js"
mathjax_options = {"defer": "defer"}


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy of MathJax what pages load: one script, and its fonts."""
    package = find_spec("sphinx-mathjax-offline")
    if error is not None or package is None or package.origin is None:
        return
    source, target = Path(package.origin).parent / "static/mathjax", app.outdir / "_static/mathjax"
    fonts = "output/chtml/fonts/woff-v2"
    shutil.copytree(source / fonts, target / fonts, dirs_exist_ok=True)
    shutil.copy(source / "tex-chtml.js", target / "tex-chtml.js")


def read_as_prose(
    _app: Sphinx, _what: str, _name: str, _value: Any, _: Any, lines: list[str]
) -> None:
    """Let a docstring be read as it was written, as prose."""
    lines[:] = prose.escaped(lines)


def unlink_words(_app: Sphinx, doctree: nodes.document) -> None:
    """Take links from plain words among types ("path, or None"): they would lead anywhere."""
    for link in list(doctree.findall(pending_xref)):
        target = link.get("reftarget", "")
        if link.get("refdomain") == "py" and "." not in target and target[:1].islower():
            link.replace_self(link.children)


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages that follow from the code, and copy MathJax."""
    app.connect("builder-inited", lambda _: reference.write())
    app.connect("autodoc-process-docstring", read_as_prose, priority=400)  # before Napoleon
    app.connect("autodoc-skip-member", lambda *given: given[4] or reference.is_foreign(given[3]))
    app.connect("doctree-read", unlink_words)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
