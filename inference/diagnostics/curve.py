"""The rate-distortion curve that a family of fits traces, and what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.diagnostics.figures import axes_of
from inference.diagnostics.table import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Point:
    """One member of the family; nats a datum, errors over the data it was judged on.

    Parameters
    ----------
    name
        Its setting: ``beta 1``, or ``rate 4``.
    beta
        Its KL weight, at the end of training.
    rate, rate_error, distortion, distortion_error
        R and D.
    bound, bound_error
        -(D + R), and its own error: of a datum, D and R are not independent.
    train_rate, train_distortion
        R and D on data it was trained on.
    target
        The rate it was steered to, if it was.
    """

    name: str
    beta: float
    rate: float
    rate_error: float
    distortion: float
    distortion_error: float
    bound: float
    bound_error: float
    train_rate: float
    train_distortion: float
    target: float | None = None

    @property
    def missed(self) -> bool:
        """Whether a target was not reached: on training data the rate is 20 % off, or more."""
        return self.target is not None and abs(self.train_rate - self.target) > 0.2 * self.target


@dataclass(frozen=True)
class Curve:
    """A family of fits; ``print`` it, or ``plot()`` it.

    Parameters
    ----------
    points
        In the order of their rates.
    entropy
        H(x), where it was given.
    interrupted
        Whether members are missing.
    """

    points: tuple[Point, ...]
    entropy: float | None = None
    interrupted: bool = False

    @property
    def best(self) -> Point:
        """The member of the highest bound."""
        return max(self.points, key=lambda point: point.bound)

    @property
    def hull(self) -> tuple[Point, ...]:
        """The lower convex hull of the points, where it falls: no mixture of members is below."""
        kept: list[Point] = []
        for point in self.points:
            while len(kept) > 1 and not _turns_up(kept[-2], kept[-1], point):
                kept.pop()
            if kept and point.distortion >= kept[-1].distortion:
                continue
            kept.append(point)
        return tuple(kept)

    def running_mean(self, window: int = 5) -> list[tuple[float, float]]:
        """Means of rate and distortion over so many neighbours in rate, fewer at the ends."""
        if window < 1:
            raise ValueError(f"window is {window}; expected at least 1")
        means = []
        for i in range(len(self.points)):
            reach = min(window // 2, i, len(self.points) - 1 - i)
            near = self.points[i - reach : i + reach + 1]
            rate = sum(p.rate for p in near) / len(near)
            means.append((rate, sum(p.distortion for p in near) / len(near)))
        return means

    @property
    def monotone(self) -> bool:
        """Whether, on training data, more rate always bought less distortion."""
        ordered = sorted(self.points, key=lambda p: p.train_rate)
        pairs = zip(ordered, ordered[1:], strict=False)
        return all(b.train_distortion <= a.train_distortion for a, b in pairs)

    @property
    def tangent(self) -> Point | None:
        """The member of KL weight 1, at which D + R should be least; None if there is none."""
        return next((p for p in self.points if p.name == "beta 1"), None)

    def findings(self) -> list[str]:
        """Say in sentences which of the curve's known properties the family has."""
        if not self.points:
            return ["No member is done."]
        words = [
            "On training data the distortion falls as the rate grows."
            if self.monotone
            else "On training data the distortion does not always fall as the rate grows: "
            "some members are not trained to their end."
        ]
        one, best = self.tangent, self.best
        if one is None:
            words.append(f"The bound is highest at {best.name}; beta = 1 is not in the family.")
        else:
            behind = best.bound - one.bound
            error = (best.bound_error**2 + one.bound_error**2) ** 0.5
            words.append(
                f"D + R is least at beta = 1, as it should be ({-one.bound:.3f})."
                if one is best
                else f"D + R is least at {best.name}, {behind:.3f} nats under beta = 1, "
                + ("which is within 2 s.e." if behind <= 2 * error else "more than 2 s.e.")
            )
        low = [p.name for p in self.points if self._is_impossible(p)]
        if low:
            words.append(f"Under the entropy floor, which cannot be: {', '.join(low)}.")
        words += self._missed()
        if self.interrupted:
            words.append("Interrupted: members are missing; call again with the same directory.")
        return words

    def _missed(self) -> list[str]:
        """Say which targets were not reached, and what follows."""
        missed = [p for p in self.points if p.missed]
        if not missed:
            return []
        steered = [p for p in self.points if p.target is not None]
        head = "No target rate was reached" if len(missed) == len(steered) else "Not reached"
        rows = ", ".join(f"{p.name} ({p.train_rate:.3g} on training data)" for p in missed)
        cure = "train for longer (epochs), or steer faster (TargetRate(nats, step=...))"
        return [f"{head}: {rows}; these rows say nothing of that rate: {cure}."]

    def _is_impossible(self, point: Point) -> bool:
        return self.entropy is not None and -point.bound < self.entropy - 3 * point.bound_error

    def __str__(self) -> str:
        error = ("s.e.", "7.3f")
        parts = [("R", "9.3f"), error, ("D", "10.3f"), error, ("D + R", "10.3f"), error]
        ends = [(p.distortion, p.distortion_error, -p.bound, p.bound_error) for p in self.points]
        starts = [(p.name, p.beta, p.rate, p.rate_error) for p in self.points]
        rows = [start + end for start, end in zip(starts, ends, strict=True)]
        lines = table([("member", "<"), ("beta", "8.3g"), *parts], rows)
        if self.entropy is not None:
            lines.append(f"entropy of the data, the floor of D + R: {self.entropy:.3f}")
        return "\n".join([*lines, "", *self.findings()])

    def plot(self, ax: Axes | None = None, window: int = 5) -> Axes:
        """Plot the members, their hull, the running mean and the tangent; returns the axes.

        Parameters
        ----------
        ax
            Matplotlib axes; a figure of its own by default (``.figure``).
        window
            Of the running mean.
        """
        ax = axes_of(ax)
        rates = [p.rate for p in self.points]
        distortions = [p.distortion for p in self.points]
        ax.errorbar(
            rates,
            distortions,
            xerr=[p.rate_error for p in self.points],
            yerr=[p.distortion_error for p in self.points],
            fmt="o",
            color="C0",
            markersize=4,
            label="members",
        )
        ax.plot([p.rate for p in self.hull], [p.distortion for p in self.hull], "C0-", label="hull")
        if len(self.points) > 2 * window:
            ax.plot(*zip(*self.running_mean(window), strict=True), "C7--", label="running mean")
        if self.points:
            ends = min(rates), max(rates)
            line = [-self.best.bound - r for r in ends]
            label = f"D + R = {-self.best.bound:.2f} ({self.best.name})"
            ax.plot(ends, line, "C1:", label=label)
            ax.plot(self.best.rate, self.best.distortion, "C1o")
            ax.set_ylim(*_limits(distortions))
            if self.entropy is not None:
                ax.plot(ends, [self.entropy - r for r in ends], "k-", lw=0.8, label="D + R = H(x)")
        ax.set(xlabel="rate R (nats a datum)", ylabel="distortion D (nats a datum)")
        ax.legend()
        return ax


def _turns_up(a: Point, b: Point, c: Point) -> bool:
    """Say whether b lies below the straight line from a to c."""
    across = (b.rate - a.rate) * (c.distortion - a.distortion)
    return across > (b.distortion - a.distortion) * (c.rate - a.rate)


def _limits(values: list[float]) -> tuple[float, float]:
    margin = 0.1 * (max(values) - min(values)) or 1.0
    return min(values) - margin, max(values) + margin
