from __future__ import annotations

import matplotlib.pyplot as plt

from inference.diagnostics.figures import axes_of, axes_row


def test_own_figures_are_unknown_to_pyplot():
    before = plt.get_fignums()
    axes = axes_row(None, 3)
    assert len(axes) == 3 and len({id(ax.figure) for ax in axes}) == 1
    assert plt.get_fignums() == before


def test_given_axes_are_used():
    ax = axes_of(None)
    assert axes_of(ax) is ax
