from __future__ import annotations

import pyro.distributions as dist
import torch

from inference.tracing.wrappers import WRAPPERS, both, layers, mask_within, unwrapped, widen


def wrapped() -> dist.Independent:
    base = dist.Normal(torch.zeros(2, 3), 1.0).mask(torch.tensor([True, False, True]))
    return base.to_event(1).mask(torch.tensor([True, False])).to_event(1)


def test_layers_are_listed_from_the_outside_in() -> None:
    names = [type(layer).__name__ for layer in layers(wrapped())]
    masked = "MaskedDistribution"
    assert names == ["Independent", masked, "Independent", masked, "Normal"]


def test_only_the_classes_asked_for_are_looked_inside_of() -> None:
    transform = dist.transforms.ExpTransform()
    fn = dist.TransformedDistribution(dist.Normal(torch.zeros(2), 1.0), [transform]).to_event(1)
    assert isinstance(unwrapped(fn), dist.Normal)
    assert isinstance(unwrapped(fn, WRAPPERS), dist.TransformedDistribution)
    assert unwrapped(fn, dist.Delta) is fn


def test_masks_at_every_depth_hold_together() -> None:
    expected = torch.tensor([[True, False, True], [False, False, False]])
    mask = mask_within(wrapped())
    assert mask is not None and torch.equal(mask.expand(2, 3), expected)
    assert mask_within(dist.Normal(torch.zeros(2), 1.0).to_event(1)) is None


def test_no_mask_and_true_are_the_same() -> None:
    mask = torch.tensor([True, False])
    assert both(None, True) is None
    assert both(mask, True) is mask
    assert torch.equal(torch.as_tensor(both(mask, False)), torch.tensor([False, False]))


def test_a_tensor_over_the_batch_is_widened_and_a_number_is_not() -> None:
    assert widen(torch.ones(2, 3), 2).shape == (2, 3, 1, 1)
    assert widen(0.5, 2) == 0.5 and widen(torch.tensor(0.5), 2).dim() == 0


def test_sequences_say_which_frames_exist() -> None:
    class Path(dist.TorchDistribution):
        arg_constraints: dict = {}
        mask_frames = torch.tensor([[True, True, False], [True, False, False]])

        def expand(self, batch_shape, _instance=None):
            return self

    path = Path(torch.Size([2]), torch.Size([3, 4]), validate_args=False)
    mask = mask_within(path.mask(torch.tensor([True, False])))
    assert mask is not None
    assert mask.shape == (2, 3, 1) and mask[0, :, 0].tolist() == [True, True, False]
    assert not mask[1].any()


def test_the_mask_of_a_hidden_markov_model_is_that_of_its_emissions() -> None:
    frames = torch.tensor([[True, True, False], [True, False, False]])
    logits, moves = torch.zeros(2), torch.zeros(2, 2)
    emission = dist.Normal(torch.zeros(2, 3, 2, 4), 1.0).to_event(1)
    masked = emission.mask(frames[..., None])
    for observation, expected in ((emission, None), (masked, frames)):
        mask = mask_within(dist.DiscreteHMM(logits, moves, observation, duration=3))
        if expected is None or mask is None:
            assert mask is expected
        else:
            assert torch.equal(mask, expected[..., None].expand(2, 3, 4))
    entries = dist.Normal(torch.zeros(2, 3, 2, 4), 1.0).mask(frames[..., None, None]).to_event(1)
    mask = mask_within(dist.DiscreteHMM(logits, moves, entries, duration=3))
    assert mask is not None and torch.equal(mask, frames[..., None].expand(2, 3, 4))
