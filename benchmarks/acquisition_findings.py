"""What `benchmarks.acquisition_rates` measured: its tables, and which findings of the thesis hold.

A claim has a number of each seed of training, and holds in a seed or not. It *holds* if it does so
in all of them, and is *refuted* if in none. Where the thesis says "clearly", the claim says how
much, in parentheses.

References
----------
Høegh, "On Learning Useful Variational Autoencoder Representations", DTU 2022, appendix A, section
4.6 (figures 7 to 10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

TARGETS = (0.5, 1.0, 2.0, 3.0, 4.5, 6.5, 9.0)
"""Rates, nats."""
WAYS = ("static", "dynamic")
DOMAINS = ("home", "small", "large")
RULES = ("regression", "baseline", "constant")

Results = Mapping[tuple[str, float], Any]
"""Of one seed: by way and target."""


@dataclass(frozen=True)
class Claim:
    """A sentence, and whether it is so.

    Parameters
    ----------
    finding
        Which of the thesis's it is of.
    text
    values
        What was measured, seed by seed.
    unit
        Of the values, with what they are.
    so
        Whether a value is as the sentence says.
    """

    finding: str
    text: str
    values: tuple[float, ...]
    unit: str
    so: Callable[[float], bool]

    @property
    def verdict(self) -> str:
        """Holds, refuted, or in how many seeds it holds."""
        held = sum(map(self.so, self.values))
        if held in (0, len(self.values)):
            return "holds" if held else "refuted"
        return f"in {held} of {len(self.values)}"


def curve(results: Results, way: str, *keys: str) -> NDArray[np.float64]:
    """Return a figure at each of `TARGETS`, of one way of training."""
    found = []
    for target in TARGETS:
        value = results[way, target]
        for key in keys:
            value = value[key]
        found.append(value)
    return np.array(found, dtype=float)


def optimum(values: NDArray[np.float64]) -> float:
    """Return the rate at which a figure of each of `TARGETS` is least, in nats.

    That of the parabola through the least one and its neighbours, over the logarithm of the rate;
    at an end, that end.
    """
    k = int(values.argmin())
    if k in (0, len(values) - 1):
        return TARGETS[k]
    place = np.log(TARGETS[k - 1 : k + 2])
    square, line, _ = np.polyfit(place, values[k - 1 : k + 2], 2)
    return float(np.exp(-line / (2 * square)))


def claims(seeds: Mapping[int, Results]) -> list[Claim]:
    """Return the thesis's findings, tried on results of each seed."""

    def of(finding: str) -> Callable[..., Claim]:
        def claim(text: str, unit: str, so: Callable[[float], bool], value: Any) -> Claim:
            return Claim(finding, text, tuple(float(value(r)) for r in seeds.values()), unit, so)

        return claim

    return [
        *_static(of("static")),
        *_dynamic(of("dynamic")),
        *(claim for way in WAYS for claim in _small(of(f"small, {way}"), way)),
        *(claim for way in WAYS for claim in _large(of(f"large, {way}"), way)),
        *(claim for way in WAYS for claim in _stopping(of(f"stopping, {way}"), way)),
    ]


def _tests(r: Results, way: str, key: str = "distortion", domain: str = "home") -> Any:
    return curve(r, way, domain, key)


def _gap(r: Results, way: str) -> float:
    """Return by how much distortion is larger on test people, at the highest rate."""
    return float((_tests(r, way) - curve(r, way, "train", "distortion"))[-1])


def _static(claim: Any) -> Iterator[Claim]:
    yield claim(
        "training distortion falls with every rate",
        "nats, the smallest fall",
        lambda v: v > 0,
        lambda r: -np.diff(curve(r, "static", "train", "distortion")).max(),
    )
    yield claim(
        "test distortion is least between the ends",
        "nats, the rate where",
        lambda v: TARGETS[0] < v < TARGETS[-1],
        lambda r: optimum(_tests(r, "static")),
    )
    yield claim(
        "the bound is best at a lower rate than test distortion",
        "times its rate",
        lambda v: v < 1,
        lambda r: optimum(-_tests(r, "static", "bound")) / optimum(_tests(r, "static")),
    )


def _dynamic(claim: Any) -> Iterator[Claim]:
    yield claim(
        "the gap of test and training distortion vanishes (below 0.25)",
        "of the static gap, at the highest rate",
        lambda v: v < 0.25,
        lambda r: _gap(r, "dynamic") / _gap(r, "static"),
    )
    yield claim(
        "test distortion is least at a high rate (6.5 or more)",
        "nats, the rate where",
        lambda v: v >= TARGETS[-2],
        lambda r: optimum(_tests(r, "dynamic")),
    )
    best = {
        "area": lambda r: _tests(r, "dynamic", "area"),
        "offset": lambda r: curve(r, "dynamic", "home", "regression", "offset"),
        "stop": lambda r: curve(r, "dynamic", "home", "regression", "stop"),
    }
    for name, figure in best.items():
        yield claim(
            f"{name} is best at a lower rate than the bound",
            "times its rate",
            lambda v: v < 1,
            lambda r, figure=figure: optimum(figure(r)) / optimum(-_tests(r, "dynamic", "bound")),
        )
    yield claim(
        "the highest rate hurts acquisition (above 1.02)",
        "times the least area",
        lambda v: v > 1.02,
        lambda r: best["area"](r)[-1] / best["area"](r).min(),
    )


def _moved(r: Results, way: str, domain: str, key: str = "area", sign: int = 1) -> float:
    """Return the best rate of a domain, as a multiple of the one at home."""
    return optimum(sign * _tests(r, way, key, domain)) / optimum(sign * _tests(r, way, key))


def _worse(r: Results, way: str, domain: str) -> float:
    """Return the least area of a domain, as a multiple of the one at home."""
    return float(_tests(r, way, "area", domain).min() / _tests(r, way, "area").min())


def _small(claim: Any, way: str) -> Iterator[Claim]:
    yield claim(
        "area is best at the same rate, or a slightly higher one (0.9 to 1.5)",
        "times that at home",
        lambda v: 0.9 < v < 1.5,
        lambda r: _moved(r, way, "small"),
    )
    yield claim(
        "the least area is slightly worse (1 to 1.05)",
        "times that at home",
        lambda v: 1 < v < 1.05,
        lambda r: _worse(r, way, "small"),
    )


def _large(claim: Any, way: str) -> Iterator[Claim]:
    yield claim(
        "area is best at a clearly lower rate (below 0.8)",
        "times that at home",
        lambda v: v < 0.8,
        lambda r: _moved(r, way, "large"),
    )
    yield claim(
        "the least area is much worse (above 1.15)",
        "times that at home",
        lambda v: v > 1.15,
        lambda r: _worse(r, way, "large"),
    )
    yield claim(
        "the bound is not best at a lower rate (1 or more)",
        "times that at home",
        lambda v: v >= 1,
        lambda r: _moved(r, way, "large", "bound", -1),
    )


def _stopping(claim: Any, way: str) -> Iterator[Claim]:
    def less(key: str, rule: str) -> Callable[[Results], float]:
        def value(r: Results) -> float:
            ours = curve(r, way, "home", "regression", key)
            return float((curve(r, way, "home", rule, key) - ours).min())

        return value

    def nearer(r: Results) -> float:
        ours, theirs = (
            abs(curve(r, way, "home", rule, "error") - 5.0) for rule in ("regression", "baseline")
        )
        return float((theirs - ours).min())

    words = "measurements, at the worst rate"
    for key in ("offset", "stop"):
        text = f"{key} is smaller than the baseline's at every rate"
        yield claim(text, words, _positive, less(key, "baseline"))
    yield claim("error at the stop is nearer to 5 dB", "dB, at the worst rate", _positive, nearer)
    text = "(ours) offset is smaller than the best constant's at every rate"
    yield claim(text, words, _positive, less("offset", "constant"))


def _positive(value: float) -> bool:
    return value > 0


def report(seeds: Mapping[int, Results]) -> str:
    """Return tables of all figures, means over seeds and their spread, and the verdicts."""
    if not seeds:
        return "no seed is done"
    lines = [f"{len(seeds)} seeds, mean +- sd; rates and distortions in nats, areas and RMSE in dB"]
    for way in WAYS:
        lines += _figures(seeds, way)
    lines += ["", "| finding | claim | verdict | seeds | |", "|---" * 5 + "|"]
    for one in claims(seeds):
        shown = ", ".join(f"{value:.2f}" for value in one.values)
        lines.append(f"| {one.finding} | {one.text} | {one.verdict} | {shown} | {one.unit} |")
    return "\n".join(lines)


def _figures(seeds: Mapping[int, Results], way: str) -> list[str]:
    """Return one table: a row a target, a column a figure."""
    columns: dict[str, tuple[str, ...]] = {
        "training R": ("train", "rate"),
        "training D": ("train", "distortion"),
        "test R": ("home", "rate"),
        "test D": ("home", "distortion"),
        "bound": ("home", "bound"),
        "bound, large": ("large", "bound"),
        **{f"area, {name}": (name, "area") for name in DOMAINS},
        "RMSE after 4": ("home", "rmse"),
        "NLL": ("home", "nll"),
        **{f"offset, {rule}": ("home", rule, "offset") for rule in RULES},
        "stop": ("home", "regression", "stop"),
        "error at the stop": ("home", "regression", "error"),
    }
    lines = ["", f"{way}", f"| target | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for k, target in enumerate(TARGETS):
        found = ([curve(r, way, *keys)[k] for r in seeds.values()] for keys in columns.values())
        cells = [_spread(values) for values in found]
        lines.append(f"| {target:g} | {' | '.join(cells)} |")
    return lines


def _spread(values: list[float]) -> str:
    around = f" +- {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{around}"
