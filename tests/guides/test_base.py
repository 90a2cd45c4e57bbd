from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from guides.base import ReadingGuide, needed
from ppl_models.errors import InputError


def test_a_story_that_is_read_is_no_part_of_its_guide() -> None:
    story = nn.Linear(2, 2)
    guide = ReadingGuide(story)
    assert guide.model is story
    assert not list(guide.parameters()) and not guide.state_dict()
    twin, copied = copy.deepcopy((story, guide))
    assert copied.model is twin


def test_a_guide_needs_data_to_look_back_from() -> None:
    x = torch.ones(2)
    assert needed(x) is x
    with pytest.raises(InputError, match="simulate with the model alone") as error:
        needed(None, "o", "detections")
    assert (error.value.argument, error.value.expected) == ("o", "detections")
