"""Networks that models and guides are made of."""

from __future__ import annotations

from ppl_models.networks.additive_evidence import AdditiveEvidence, LinearPosterior
from ppl_models.networks.attention import Transformer
from ppl_models.networks.conv import ConvDecoder, ConvEncoder, num_halvings
from ppl_models.networks.conv_lstm import ConvLSTM, beside, over_maps
from ppl_models.networks.lstm import LSTM, Span, Tensors, joined, set_span
from ppl_models.networks.mlp import (
    MLP,
    Conditional,
    ConditionalNormal,
    OneHot,
    Rescale,
    ResidualMLP,
    split_normal,
    together,
)
from ppl_models.networks.sets import (
    READERS,
    AttentionSet,
    OneHotSet,
    PointNet,
    PointNetPlus,
    ZerosAndMask,
    set_reader,
)

__all__ = [
    "AdditiveEvidence",
    "AttentionSet",
    "Conditional",
    "ConditionalNormal",
    "ConvDecoder",
    "ConvEncoder",
    "ConvLSTM",
    "LSTM",
    "LinearPosterior",
    "MLP",
    "OneHot",
    "OneHotSet",
    "PointNet",
    "PointNetPlus",
    "READERS",
    "Rescale",
    "ResidualMLP",
    "Span",
    "Tensors",
    "Transformer",
    "beside",
    "ZerosAndMask",
    "joined",
    "num_halvings",
    "over_maps",
    "set_reader",
    "set_span",
    "split_normal",
    "together",
]
