"""Reading a pair: binding, the layout of its plates, draws and exact sums."""

from __future__ import annotations

from inference.tracing.bind import bind
from inference.tracing.data import (
    Columns,
    Source,
    TensorSource,
    argument_names,
    check_call,
    columns,
    is_column,
    nonfinite_rows,
    source,
)
from inference.tracing.handlers import Sites
from inference.tracing.layout import (
    Layout,
    batch_length,
    in_plate,
    layout,
    pair_traces,
    sample_sites,
    untouched,
)
from inference.tracing.minibatch import precision, scaled, whole_size
from inference.tracing.nonfinite import (
    count_nonfinite,
    explain_nonfinite,
    find_nonfinite,
    no_warnings,
    unvalidated,
)
from inference.tracing.sampler import Sampler, mean_and_error, quiet, sampler_of, stack_draws
from inference.tracing.sites import (
    Place,
    Plate,
    counted,
    is_delta,
    is_deterministic,
    is_observed,
    log_density,
    mask_of,
    node,
)
from inference.tracing.sum_product import (
    contract,
    expected_terms,
    log_weights,
    outside,
    pointwise,
    reduce,
    split,
)
from inference.tracing.traces import Traces

__all__ = [
    "Columns",
    "Layout",
    "Place",
    "Plate",
    "Sampler",
    "Sites",
    "Source",
    "TensorSource",
    "Traces",
    "argument_names",
    "batch_length",
    "bind",
    "check_call",
    "columns",
    "contract",
    "count_nonfinite",
    "counted",
    "expected_terms",
    "explain_nonfinite",
    "find_nonfinite",
    "in_plate",
    "is_column",
    "is_delta",
    "is_deterministic",
    "is_observed",
    "layout",
    "log_density",
    "log_weights",
    "mask_of",
    "mean_and_error",
    "no_warnings",
    "node",
    "nonfinite_rows",
    "outside",
    "pair_traces",
    "pointwise",
    "precision",
    "quiet",
    "reduce",
    "sample_sites",
    "sampler_of",
    "scaled",
    "source",
    "split",
    "stack_draws",
    "untouched",
    "unvalidated",
    "whole_size",
]
