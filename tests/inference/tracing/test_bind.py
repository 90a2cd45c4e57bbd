from __future__ import annotations

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoDiagonalNormal, AutoNormal, AutoNormalMessenger
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints

from inference import check, enumerated, importance, posterior, rates
from inference.errors import PairError
from inference.objectives.objective import Objective
from inference.randomness import seeded
from inference.tracing.bind import bind
from ppl_models.errors import InputError
from tests import pairs


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def test_modules_are_returned_as_they_are() -> None:
    model, guide = pairs.Amortised(), pairs.AmortisedGuide()
    assert bind(model, guide, torch.randn(3, 4)) == (model, guide)


def test_functions_own_their_params(untouched: None) -> None:
    x = torch.arange(4.0)
    model, guide = bind(pairs.function_model, pairs.function_guide, x)
    assert names(model) == ["noise_unconstrained"]
    assert names(guide) == ["loc_unconstrained", "scale_unconstrained"]
    again = bind(model, guide, x)
    assert again == (model, guide)
    with seeded(0):
        Objective().loss(model, guide, (x,)).backward()
    assert all(p.grad is not None for p in [*model.parameters(), *guide.parameters()])
    assert not pyro.get_param_store()


def test_constraints_are_kept() -> None:
    x = torch.arange(4.0)
    model, guide = bind(pairs.function_model, pairs.function_guide, x)
    assert guide.scale_unconstrained.item() == pytest.approx(torch.tensor(0.5).log().item())
    with torch.no_grad():
        guide.scale_unconstrained.fill_(-3.0)
        guide.loc_unconstrained.fill_(7.0)
    q = poutine.trace(guide).get_trace(x).nodes["mu"]["fn"]
    assert q.loc.item() == 7.0
    assert q.scale.item() == pytest.approx(torch.tensor(-3.0).exp().item())


def test_two_bindings_do_not_meet() -> None:
    x = torch.arange(4.0)
    one, two = (bind(pairs.function_model, pairs.function_guide, x)[1] for _ in range(2))
    with torch.no_grad():
        one.loc_unconstrained.fill_(9.0)
    assert two.loc_unconstrained.item() == pytest.approx(0.3)


def test_state_dict_is_what_was_learned() -> None:
    x = torch.arange(4.0)
    _, guide = bind(pairs.function_model, pairs.function_guide, x)
    with torch.no_grad():
        guide.loc_unconstrained.fill_(9.0)
    _, other = bind(pairs.function_model, pairs.function_guide, x)
    other.load_state_dict(guide.state_dict())
    assert poutine.trace(other).get_trace(x).nodes["mu"]["fn"].loc.item() == 9.0
    assert copy.deepcopy(guide).loc_unconstrained.item() == 9.0


def test_a_pair_trained_by_hand_keeps_its_values() -> None:
    x = torch.arange(4.0)
    pyro.param("loc", torch.tensor(5.0))
    pyro.param("scale", torch.tensor(0.25), constraint=constraints.positive)
    _, guide = bind(pairs.function_model, pairs.function_guide, x)
    q = poutine.trace(guide).get_trace(x).nodes["mu"]["fn"]
    assert (q.loc.item(), q.scale.item()) == (5.0, 0.25)
    with torch.no_grad():
        guide.loc_unconstrained.fill_(6.0)
    assert pyro.param("loc").item() == 5.0


def test_a_name_in_model_and_guide_is_one_parameter() -> None:
    def model(x: torch.Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
        pyro.sample("z", dist.Normal(0.0, scale))

    def guide(x: torch.Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
        pyro.sample("z", dist.Normal(1.0, scale))

    bound_model, bound_guide = bind(model, guide, torch.zeros(1))
    assert bound_model.scale_unconstrained is bound_guide.scale_unconstrained
    assert len(list(nn.ModuleList([bound_model, bound_guide]).parameters())) == 1


def test_random_and_lazy_initial_values_leave_the_generator(untouched: None) -> None:
    def model(x: torch.Tensor) -> None:
        weight = pyro.param("net.weight", lambda: torch.randn(3))
        pyro.sample("x", dist.Normal(weight, 1.0).to_event(1), obs=x)

    torch.manual_seed(11)
    before = torch.get_rng_state()
    bound, _ = bind(model, pairs.NoLatents(), torch.zeros(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert names(bound) == ["net_weight_unconstrained"]
    assert torch.equal(bound.net_weight_unconstrained, torch.randn(3))
    torch.set_rng_state(before)  # what this test itself drew
    torch.manual_seed(0)


def test_a_param_that_comes_later_is_refused() -> None:
    def guide(x: torch.Tensor) -> None:
        loc = pyro.param("loc", torch.tensor(0.0))
        if len(x) > 2:
            loc = loc + pyro.param("late", torch.tensor(0.0))
        pyro.sample("mu", dist.Normal(loc, 1.0))

    _, bound = bind(pairs.GlobalMean(), guide, torch.zeros(2))
    with pytest.raises(PairError, match="not there on the first call") as error:
        bound(torch.zeros(3))
    assert error.value.site == "late"
    with pytest.raises(PairError) as error:  # Pyro's trace handler re-makes the error
        poutine.trace(bound).get_trace(torch.zeros(3))
    assert (error.value.site, error.value.cure[:7]) == ("late", "declare")


def test_pyro_module_in_a_function_is_refused() -> None:
    net = nn.Linear(1, 1)
    hidden = {"net": net}  # out of sight of the closure's own check

    def guide(x: torch.Tensor) -> None:
        pyro.module("encoder", hidden["net"])
        pyro.sample("mu", dist.Normal(hidden["net"](x[:1])[0], 1.0))

    with pytest.raises(PairError, match="pass an nn.Module") as error:
        bind(pairs.GlobalMean(), guide, torch.zeros(2))
    assert error.value.site == "encoder"


def test_a_module_that_a_function_closes_over_is_refused() -> None:
    net = nn.Linear(1, 1)

    def guide(x: torch.Tensor) -> None:
        pyro.sample("mu", dist.Normal(net(x[:1])[0], 1.0))

    with pytest.raises(PairError, match="pass an nn.Module") as error:
        bind(pairs.GlobalMean(), guide, torch.zeros(2))
    assert error.value.site == "net"
    net.requires_grad_(False)
    bind(pairs.GlobalMean(), guide, torch.zeros(2))


class Tutorial(nn.Module):
    """The style of Pyro's tutorials: model and guide are methods, networks by pyro.module."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, 4), nn.Linear(4, 4)

    def model(self, x: torch.Tensor) -> None:
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x: torch.Tensor) -> None:
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def test_methods_bring_their_module(untouched: None) -> None:
    with seeded(0):
        vae = Tutorial()
    x = torch.ones(3, 4)
    model, guide = bind(vae.model, vae.guide, x)
    assert names(model) == names(guide) == [f"owner.{name}" for name in names(vae)]
    with seeded(0):
        Objective().loss(model, guide, (x,)).backward()
    assert vae.decoder.weight.grad is not None and vae.encoder.weight.grad is not None


def test_a_module_inside_a_handler_brings_its_parameters() -> None:
    x = torch.ones(3)
    joint = pairs.TwoComponents()
    model, _ = bind(poutine.condition(joint, data={"x": x}), pairs.NoLatents(), x)
    assert names(model) == [f"owner.{name}" for name in names(joint)]


@pytest.mark.parametrize("auto", [AutoNormal, AutoDiagonalNormal, AutoNormalMessenger])
def test_autoguides_have_their_parameters_after_binding(auto: type, untouched: None) -> None:
    x = torch.arange(4.0)
    model = pairs.GlobalMean()
    bound, guide = bind(model, auto(model), x)
    assert names(guide)
    with seeded(0):
        loss = Objective().loss(bound, guide, (x,))
    loss.backward()
    assert all(p.grad is not None for p in guide.parameters())


def test_an_autoguide_of_a_function_with_params(untouched: None) -> None:
    x = torch.arange(4.0)
    model, guide = bind(pairs.function_model, AutoNormal(pairs.function_model), x)
    assert names(model) == ["noise_unconstrained"] and names(guide)
    with seeded(0):
        Objective().loss(model, guide, (x,)).backward()
    assert model.noise_unconstrained.grad is not None


def test_two_autoguides_share_nothing(untouched: None) -> None:
    x = torch.arange(4.0)
    model = pairs.GlobalMean()
    one, two = (bind(model, AutoNormal(model), x)[1] for _ in range(2))
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.fill_(3.0)
    with seeded(0):
        Objective().loss(model, one, (x,))
        Objective().loss(model, two, (x,))
    assert not any((p == 3.0).any() for p in two.parameters())


def test_pyro_modules_made_before_the_setting_still_work(untouched: None) -> None:
    class Guide(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.scale = PyroParam(torch.tensor(0.5), constraint=constraints.positive)

        def forward(self, x: torch.Tensor) -> None:
            pyro.sample("mu", dist.Normal(0.0, self.scale))

    with pyro.settings.context(module_local_params=False):
        guide = Guide()
    x = torch.arange(4.0)
    model, guide = bind(pairs.GlobalMean(), guide, x)
    with seeded(0):
        Objective().loss(model, guide, (x,)).backward()
    assert guide.scale_unconstrained.grad is not None


def test_lazy_layers_are_run_once() -> None:
    class Guide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.LazyLinear(1)

        def forward(self, x: torch.Tensor) -> None:
            pyro.sample("mu", dist.Normal(self.net(x)[0], 1.0))

    _, guide = bind(pairs.GlobalMean(), Guide(), torch.arange(4.0))
    assert guide.net.weight.shape == (1, 4)


@pytest.mark.parametrize("function", [check, posterior, importance, rates, enumerated])
def test_data_without_a_row_are_refused_by_all_in_the_same_words(function) -> None:
    with pytest.raises(InputError, match="no row"):
        function(pairs.Conjugate(), pairs.ConjugateGuide(), torch.zeros(0))


FUNCTIONS = [check, posterior, importance, rates, enumerated]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_class_in_place_of_a_guide_is_refused_with_the_call_that_makes_one(function) -> None:
    with pytest.raises(PairError) as error:
        function(pairs.Conjugate(), AutoNormal, torch.ones(3))
    assert error.value.site == "guide" and error.value.cure == "AutoNormal(model)"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_pyro_cannot_set_up_is_the_same_error_everywhere(function) -> None:
    def model(x) -> None:
        for _ in range(2):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(PairError, match="Multiple sample sites named 'z'"):
        function(model, AutoNormal(model), torch.ones(3))
