from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import nn

from guides import DKFGuide, HMMGuide, KVAEGuide, MVAEGuide, PPCAGuide, VAEGuide
from guides.base import EmptyGuide, ReadingGuide, needed
from ppl_models.errors import InputError


def test_a_model_is_no_part_of_its_guide() -> None:
    model = nn.Linear(2, 2)
    guide = ReadingGuide(model)
    assert guide.model is model
    assert not list(guide.parameters()) and not guide.state_dict()
    twin, copied = copy.deepcopy((model, guide))
    assert copied.model is twin


def test_an_empty_guide_samples_nothing_for_any_data() -> None:
    guide, x = EmptyGuide(nn.Linear(2, 2)), torch.ones(3, 2)
    trace = poutine.trace(guide).get_trace(x, None, mask=x > 0)
    assert not [name for name, site in trace.nodes.items() if site["type"] == "sample"]


def test_a_guide_needs_data_to_condition_on() -> None:
    x = torch.ones(2)
    assert needed(x) is x
    with pytest.raises(InputError, match="simulate with the model alone") as error:
        needed(None, "o", "detections")
    assert (error.value.argument, error.value.expected) == ("o", "detections")


@pytest.mark.parametrize("guide", [VAEGuide, PPCAGuide, HMMGuide, DKFGuide, KVAEGuide, MVAEGuide])
def test_sizes_in_place_of_a_model_are_refused_with_the_cure(guide: Any) -> None:
    with pytest.raises(InputError, match=rf"model: saw 64\n.*\n.*{guide.__name__}\(model\)"):
        guide(64)
