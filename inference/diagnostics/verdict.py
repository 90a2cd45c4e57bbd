"""What a collapse report says, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.diagnostics.collapse import CollapseReport

COLLAPSED = 0.1  # nats: a rate, or an information, under which nothing is told


def verdict_of(report: CollapseReport) -> list[str]:
    """Put the findings in sentences, the gravest first."""
    shown, rate, words = report.information, report.rate, []
    total = sum(len(site.units) for site in report.sites)
    active = sum(site.active for site in report.sites)
    idle = [s.site for s in report.sites if s.information < COLLAPSED and len(report.sites) > 1]
    if report.collapsed and rate < COLLAPSED:
        words.append("Collapsed: the guide is the prior, and the latents tell nothing.")
    elif report.collapsed:
        words.append(f"Collapsed, though {rate:.2f} nats are paid: every datum has one posterior.")
    elif idle or active < total:
        words.append(f"Partly collapsed: {active} of {total} units are active.")
    else:
        words.append(f"Healthy: all {total} units are active.")
    if not report.collapsed:
        most = f" to {min(shown.upper, shown.rate):.2f}" if shown.upper > shown.nats + 0.5 else ""
        words.append(
            f"The latents carry {shown.nats:.2f}{most} of the {shown.rate:.2f} nats they cost."
        )
        words += [f"Site {name!r} adds nothing to those before it." for name in idle]
    gap, loose = report.gap, report.iwae - report.rates.bound
    if gap is not None and gap.nats > max(3 * gap.error, 0.05):
        share = f", {min(gap.nats / loose, 1):.0%} of what {report.particles} draws regain"
        words.append(
            f"Limited by its encoder: posteriors fitted to each datum gain {gap.nats:.2f} nats"
            f"{share if loose > 0 else ''}."
        )
    elif loose > max(3 * report.iwae_error, 0.5):
        who = "the guide's family, of which no member gains" if gap else "its guide, which lacks"
        words.append(f"Limited by {who} the {loose:.2f} nats of {report.particles} draws.")
    if shown.rate - shown.upper > max(0.5, 0.25 * rate):  # sure even with so few data
        words.append("The aggregated posterior is not the prior: its samples will miss the data.")
    if not report.collapsed and shown.nats > shown.ceiling - 1:
        words.append(f"With {shown.size} data no more than {shown.ceiling:.1f} nats can be seen.")
    return words
