"""The posterior as an ArviZ object: draws of the guide, predictions, log likelihood, data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inference.diagnostics.arviz_groups import check_dims, exported
from inference.diagnostics.importance import KHAT_ERROR, weigh
from inference.diagnostics.importance_weights import Importance
from inference.errors import PairError
from inference.tracing import Sampler, sampling

_UNWEIGHTED = (
    "draws of the guide, not of the posterior: az.loo and other estimates take them for the "
    "posterior's. posterior(..., weighted=True) corrects the draws, inference.loo the estimate."
)


def posterior(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_samples: int = 1000,
    weighted: bool = False,
    khat_error: float = KHAT_ERROR,
    max_samples: int | None = None,
    seed: int = 0,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    predictive: bool = True,
    log_likelihood: bool = True,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> Any:
    r"""Draw from a guide, and return the draws as an ArviZ object.

    One chain of independent draws. The r-hat and effective sample size of Markov chains mean
    nothing for these (ArviZ says NaN, or warns of one chain; ``az.summary(..., kind="stats")``
    leaves them out): they cannot distinguish a wrong guide from a right one. `importance` (k-hat)
    and `sbc` can.

    Draws of a guide are not draws of the posterior. With ``weighted=True`` they become so, as far
    as k-hat says: many are drawn, weighed (`importance`), and resampled by Pareto smoothed weights.
    Where every site is in the data plate, each datum's latents are resampled by its own weights;
    else all latents together, by one. Then ``az.loo`` is right, too. Where k-hat says no, ask
    `mcmc`.

    Groups
    ------
    posterior
        Every latent site; enumerated ones too, drawn from their exact posterior given the guide's
        draw; ``pyro.deterministic`` values. Its attributes say ``weighted``, 1 or 0; if 1, the
        largest ``khat``, its ``khat_error`` (a standard error), the ``threshold`` it must be under
        by two of these for ``reliable`` to be 1, the least ``ess``, the largest relative error of a
        standard deviation (``sd_error``, at most 0.05 if ``reliable``) and ``num_drawn``, the draws
        that were weighed; each variable has the largest ``khat`` of its own parameters
        (`Importance.khats`). ``one_by_one`` says why draws were not made all at once.
    posterior_predictive
        Every observed site, drawn given the latents of the same datum.
    log_likelihood
        Every observed site, summed over its event: one number an element of its plates, double
        precision, 0 where the data are masked (never NaN). Enumerated sites in the same plates are
        summed out, :math:`\log p(x_i \mid z)`, as leave-one-out wants; if one is shared by several
        elements it is conditioned on. The attribute ``enumerated`` says which.
    observed_data
        The data. Values keep the model's dtype.

    What a mask hides (frames after a sequence's end, missing data) is NaN in posterior,
    posterior_predictive and observed_data; integers become floats for it. The attribute ``masked``
    says so. Predictions are kept of what exists and was not seen: numbers in the gap of a sequence,
    a site that a datum lacks altogether, as a missing modality. A masked site that is enumerated is
    drawn from its prior, and says so. ``pyro.deterministic`` values stay as the model computes
    them, also of frames that do not exist, which only the model knows; where any site is masked,
    they say so.

    Parameters
    ----------
    model, guide, *data, **named
        Any pair, and the data, as it takes them.
    num_samples
        S, the number of draws in the result.
    weighted
        Whether to correct the guide's draws by their importance weights.
    khat_error, max_samples
        How well to know k-hat, and how many draws to weigh for it, as `importance` takes them.
    seed
        Where the draws begin.
    coords
        Labels by dim, for plates and events.
    dims
        By site, names for its event dims. Plates give the others their names, and event dims
        without a name are ``{site}_dim_{i}``. A plate named like a site becomes ``{name}_plate``.
    predictive, log_likelihood
        Whether to make these groups.
    plate
        The name of the data plate, when it is ambiguous.
    chunk
        Draws made at a time; by default as many as a fixed budget allows.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        What the installed ArviZ (0.23, or 1.x) works with.

    Raises
    ------
    PairError
        The guide misses a latent site; ``weighted``, and a plate subsamples itself.
    ValueError
        `coords` or `dims` do not fit.

    Warns
    -----
    UserWarning
        ``weighted``, and k-hat says that the weights cannot be trusted.
    """
    with sampling(model, guide, data, named, seed, plate) as sampler:
        check_dims(sampler, dims or {})
        if weighted:
            found = _weighed(sampler, khat_error, max_samples, chunk)
            values = found.resample(num_samples, seed)
            latents = {n: values[n] for n in sampler.latents}
            traces = sampler.given(latents, num_samples, "sampled", chunk)
            said, khats = _said(found), {n: float(k.max()) for n, k in found.khats.items()}
        else:
            traces = sampler.chunks(num_samples, "sampled", chunk)
            said, khats = {"weighted": 0, "note": _UNWEIGHTED}, {}
        if sampler.reason:
            said["one_by_one"] = sampler.reason
        attrs = {"posterior": said} | (
            {} if weighted else {"log_likelihood": {"note": _UNWEIGHTED}}
        )
        return exported(
            sampler,
            traces,
            coords,
            dims,
            predictive=predictive,
            log_likelihood=log_likelihood,
            attrs=attrs,
            khats=khats,
        )


def _weighed(
    sampler: Sampler, khat_error: float, max_samples: int | None, chunk: int | None
) -> Importance:
    plate = sampler.plate
    if plate is not None and plate.full_size != plate.size:
        raise PairError(
            plate.name,
            f"a plate that takes {plate.size} of its {plate.full_size} data at each run",
            "all data at once: weights are those of the whole posterior",
            "leave subsample_size out of the plate when asking for weighted draws",
        )
    found = weigh(
        sampler,
        khat_error=khat_error,
        max_samples=max_samples,
        joint=not sampler.is_local,
        chunk=chunk,
    )
    if not bool(found.reliable.all()):
        worst = int((found.khat + found.khat_error).argmax())
        warnings.warn(
            f"k-hat {float(found.khat[worst]):.2f} +- {float(found.khat_error[worst]):.2f} (asked: "
            f"two errors under {found.threshold:.2f}), standard deviations known to "
            f"{found.sd_error:.0%}: {int((~found.reliable).sum())} of {len(found.khat)} weights "
            "cannot be trusted. Fit the guide longer, take a richer one, or ask inference.mcmc.",
            UserWarning,
            stacklevel=3,
        )
    return found


def _said(found: Importance) -> dict[str, Any]:
    worst = int((found.khat + found.khat_error).nan_to_num(posinf=1e9, neginf=-1e9).argmax())
    return {
        "weighted": 1,
        "khat": float(found.khat[worst]),
        "khat_error": float(found.khat_error[worst]),
        "threshold": found.threshold,
        "reliable": int(bool(found.reliable.all())),
        "ess": float(found.ess.min()),
        "sd_error": found.sd_error,
        "num_drawn": len(found.log_weights),
    }
