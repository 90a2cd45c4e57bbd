"""Reading a pair: binding, the layout of its plates, draws and exact sums."""

from __future__ import annotations

from inference.tracing.arguments import argument_names, check_call, signature_of
from inference.tracing.bind import FunctionModule, bind
from inference.tracing.data import (
    Columns,
    LoaderSource,
    Source,
    TensorSource,
    columns,
    is_column,
    source,
)
from inference.tracing.decoding import decode
from inference.tracing.finite import explain_nonfinite, nonfinite_rows
from inference.tracing.forms import blaming_forms, parameter_dtype, refuse_forms
from inference.tracing.handlers import FlatPriors, Sites, Unconditioned, WholePriors
from inference.tracing.layout import (
    Layout,
    batch_length,
    data_plate,
    layout,
    pair_traces,
    rows_in,
    untouched,
)
from inference.tracing.minibatch import precision, scaled, whole_size
from inference.tracing.nonfinite import (
    count_nonfinite,
    find_nonfinite,
    no_warnings,
    unvalidated,
)
from inference.tracing.pointwise import pointwise, pointwise_sites
from inference.tracing.potential import Potential, lent_potential
from inference.tracing.pyro_errors import translated
from inference.tracing.reading import collect_sites, read_draws, read_pair, run_pair
from inference.tracing.sampler import (
    Sampler,
    mean_and_error,
    quiet,
    sampler_of,
    sampling,
    stack_draws,
)
from inference.tracing.sites import (
    Place,
    Plate,
    Site,
    is_delta,
    is_deterministic,
    is_enumerated,
    is_factor,
    is_flat,
    is_observed,
    mask_of,
    mean_of,
    node,
    sample_sites,
    unscaled_log_density,
)
from inference.tracing.steady import refuse_unsteady
from inference.tracing.sum_product import (
    common_scale,
    contract,
    contract_to,
    data_frames,
    expected_factors,
    log_weights,
)
from inference.tracing.terms import (
    Term,
    Terms,
    frame_of,
    log_density,
    outside,
    rows_of,
    scale_of,
    subsampled_share,
    to_plate,
)
from inference.tracing.traces import Traces
from inference.tracing.wrappers import WRAPPERS, both, layers, unwrapped, widen

__all__ = [
    "Columns",
    "FlatPriors",
    "FunctionModule",
    "Layout",
    "LoaderSource",
    "Place",
    "Plate",
    "Potential",
    "Sampler",
    "Site",
    "Sites",
    "Source",
    "TensorSource",
    "Term",
    "Terms",
    "Traces",
    "Unconditioned",
    "WholePriors",
    "WRAPPERS",
    "argument_names",
    "batch_length",
    "bind",
    "blaming_forms",
    "both",
    "check_call",
    "collect_sites",
    "columns",
    "common_scale",
    "contract",
    "contract_to",
    "count_nonfinite",
    "data_frames",
    "data_plate",
    "decode",
    "expected_factors",
    "explain_nonfinite",
    "find_nonfinite",
    "frame_of",
    "is_column",
    "is_delta",
    "is_deterministic",
    "is_enumerated",
    "is_factor",
    "is_flat",
    "is_observed",
    "layers",
    "layout",
    "lent_potential",
    "log_density",
    "log_weights",
    "mask_of",
    "mean_and_error",
    "mean_of",
    "no_warnings",
    "node",
    "nonfinite_rows",
    "outside",
    "pair_traces",
    "parameter_dtype",
    "pointwise",
    "pointwise_sites",
    "precision",
    "quiet",
    "read_draws",
    "read_pair",
    "refuse_unsteady",
    "rows_in",
    "refuse_forms",
    "rows_of",
    "run_pair",
    "sample_sites",
    "sampler_of",
    "sampling",
    "scale_of",
    "scaled",
    "signature_of",
    "source",
    "stack_draws",
    "subsampled_share",
    "to_plate",
    "translated",
    "unscaled_log_density",
    "untouched",
    "unvalidated",
    "unwrapped",
    "whole_size",
    "widen",
]
