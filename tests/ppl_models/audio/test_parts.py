from __future__ import annotations

import math
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from inference import check
from ppl_models.audio import Parts, as_source, as_source_pair, read_bins, variances, wiener
from ppl_models.audio.parts import bins_plate, zero_mean
from ppl_models.errors import InputError
from ppl_models.likelihoods import ComplexBins, bin_power, to_bins
from tests.sounds import SOURCES, F, T, given, powers_pair, rvae, several


def scored(model: Any, latents: dict[str, Tensor], s: Tensor) -> dict[str, Tensor]:
    trace = poutine.trace(poutine.condition(model, latents)).get_trace(s)
    trace.compute_log_prob()
    return {name: trace.nodes[name]["log_prob"] for name in ("z", "s")}


@pytest.mark.parametrize("kind", ["rvae", "srnn"])
def test_a_model_of_powers_becomes_a_source_of_bins(kind: str) -> None:
    """Latents score the same, bins lower than powers by log pi each."""
    model, guide = powers_pair(kind)
    source, reader = as_source_pair(model, guide)
    bins = torch.randn(2, T, 2 * F).double()
    z = {"z": torch.randn(2, T, 2).double()}
    before, after = scored(model, z, bin_power(bins)), scored(source, z, bins)
    assert torch.allclose(before["z"], after["z"])
    assert torch.allclose(before["s"] - T * F * math.log(math.pi), after["s"])
    assert reader.model is source and guide.model is model and model.data_dim == F
    torch.manual_seed(1)
    drawn = guide(bin_power(bins))
    torch.manual_seed(1)
    assert torch.allclose(reader(bins), drawn)
    assert check(source, reader, s=bins).sites


def test_a_source_reads_its_own_past_even_while_it_is_trained() -> None:
    model, _ = powers_pair("srnn")
    model.sampling_probability, model.sampling = 1.0, lambda step: 1.0
    source = as_source(model).train()
    source.set_step(100)
    assert not source.scheduled and model.train().scheduled


def test_a_source_is_a_copy() -> None:
    model, _ = powers_pair("rvae")
    source = as_source(model)
    assert isinstance(source.likelihood, ComplexBins) and source.data_dim == 2 * F
    source.emission.weight.data.zero_()
    assert model.emission.weight.abs().sum() > 0 and model.data_dim == F
    assert as_source(source).data_dim == 2 * F


def test_a_model_of_other_data_is_no_source() -> None:
    model, _ = rvae()
    model.likelihood = nn.Identity()
    with pytest.raises(InputError, match="likelihood Identity"):
        as_source(model)


@pytest.mark.parametrize("kind", SOURCES)
def test_the_density_of_a_part_is_that_of_the_variances_it_gives(kind: str) -> None:
    model, _ = SOURCES[kind]()
    with torch.no_grad():
        trace = poutine.trace(model.path).get_trace(T)
    trace.compute_log_prob()
    values = {name: trace.nodes[name]["value"] for name in trace.stochastic_nodes}
    s = values.pop("s")
    v = variances(model, values, s).expand(T, F)
    expected = -(v.log() + bin_power(s) / v + math.log(math.pi)).sum()
    assert trace.nodes["s"]["log_prob"].item() == pytest.approx(expected.item(), abs=1e-9)


def test_a_part_without_variances_is_told_what_to_do() -> None:
    with pytest.raises(InputError, match="as_source"):
        variances(powers_pair("rvae")[0], {})


def test_the_wiener_filter_is_gaussian_conditioning() -> None:
    """Against the dense joint of two independent numbers and their sum."""
    v, rest = torch.rand(2, 7).double() + 0.1
    o = torch.randn(14).double()
    mean, variance = wiener(o, v, rest)
    for f in range(7):
        joint = torch.stack([torch.stack([v[f], v[f]]), torch.stack([v[f], v[f] + rest[f]])])
        gain = joint[0, 1] / joint[1, 1]
        assert torch.allclose(mean[[f, f + 7]], gain * o[[f, f + 7]])
        assert torch.allclose(variance[f], joint[0, 0] - gain * joint[1, 0])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "one source or more"),
        ({"a/b": given()[0]}, "without a slash"),
        ({"a": given()[0], "b": SOURCES["hum"]()[0].start_from(torch.ones(1, 10))}, None),
        ({"a": nn.Identity()}, "data_dim None of a"),
        ({"a": powers_pair("rvae")[0]}, "data_dim 5 of a"),
    ],
)
def test_parts_have_names_and_the_same_bins(parts: Any, message: str | None) -> None:
    if message is None:
        assert Parts(parts).bins == F
        return
    with pytest.raises(InputError, match=message):
        Parts(parts)


def test_a_source_may_be_called_as_a_method_of_a_module_is() -> None:
    """A train is a source too, and ``train`` a method of modules."""
    model = Parts({"train": given()[0], "half": given()[0]})
    assert [name for name, _ in model.named_parts()] == ["train", "half"]


def test_two_sources_may_be_one_module() -> None:
    part = several("rvae")[0]["0 rvae"]
    model = Parts({"a": part, "b": part})
    assert len(model) == 2 and len(list(model.parameters())) == len(list(part.parameters()))


def test_numbers_that_were_not_seen_have_no_density() -> None:
    v, s = torch.rand(T, F) + 0.1, torch.randn(T, 2 * F)
    observed = torch.rand(T, 2 * F) < 0.5
    each = torch.distributions.Normal(0.0, (v / 2).sqrt().repeat(1, 2)).log_prob(s)
    found = zero_mean(v, observed=observed).log_prob(s)
    assert torch.allclose(found, each[observed].sum())


def test_the_plate_of_recordings_calls_them_as_it_is_told() -> None:
    with bins_plate(None, None, F, size=2, length=3) as frames:
        assert (frames.length, frames.s) == (3, None)
        assert pyro.sample("a", pyro.distributions.Normal(0.0, 1.0)).shape == (2,)
    with (
        pytest.raises(InputError, match="noisy: saw real numbers"),
        bins_plate(torch.ones(1, T, F), None, F, argument="noisy"),
    ):
        pass
    with pytest.raises(InputError, match="x: saw"):
        read_bins(torch.ones(1, T, F), F, argument="x")


def test_bins_are_taken_complex_or_as_reals() -> None:
    x = torch.randn(2, T, F, dtype=torch.complex64)
    assert torch.equal(read_bins(x, F), to_bins(x))
    assert read_bins(to_bins(x), F).shape == (2, T, 2 * F)
    for wrong in (x[0], to_bins(x)[..., :-1], x[:, :, :3], x[:0]):
        with pytest.raises(InputError, match="o: saw"):
            read_bins(wrong, F)
