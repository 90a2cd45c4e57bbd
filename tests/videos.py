"""Small pairs of videos, and what holds for all of them: frames of 8 x 8, in double precision."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor

from guides.video import SRVPGuide, SV2PGuide, SVGFPGuide, SVGLPGuide
from inference import Objective
from ppl_models.data import float_frames, resize_frames
from ppl_models.errors import InputError, original
from ppl_models.video import SRVP, SV2P, SVGFP, SVGLP
from tests.cures import tried

SIDE, D, B, T = 8, 64, 3, 5
ENDS = (5, 3, 1)
SMALL: dict[str, Any] = {"width": 4, "code_dim": 6}
MAKE: dict[str, Any] = {
    "SVGFP": lambda: _svg(SVGFP, SVGFPGuide),
    "SVGLP": lambda: _svg(SVGLP, SVGLPGuide),
    "SRVP": lambda: _srvp(),
    "SRVP skips": lambda: _srvp(skips=True, num_steps=2),
    "SV2P": lambda: _sv2p(),
    "SV2P frames": lambda: _sv2p(time_variant=True, latent_dim=3),
}


def _svg(model_class: Any, guide_class: Any) -> tuple[Any, Any]:
    model = model_class((1, SIDE, SIDE), 2, recurrent_dim=6, past=3, **SMALL)
    return model, guide_class(model, recurrent_dim=5)


def _srvp(**options: Any) -> tuple[Any, Any]:
    sizes: Any = {"state_dim": 3, "content_dim": 4, "hidden_dims": (7, 6), "content_frames": 2}
    model = SRVP((1, SIDE, SIDE), 2, **sizes, **SMALL, **options)
    return model, SRVPGuide(model, start_frames=2, start_dims=(5,), recurrent_dim=6)


def _sv2p(**options: Any) -> tuple[Any, Any]:
    model = SV2P((1, SIDE, SIDE), width=4, num_kernels=3, kernel_side=3, **options)
    return model, SV2PGuide(model, width=4)


def pair(name: str) -> tuple[Any, Any]:
    """A model and its guide, in evaluation mode, with no two weights alike."""
    model, guide = MAKE[name]()
    for part in (model, guide):
        part.double().eval()
        for parameter in part.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model, guide


def blobs(size: int = B, length: int = T, side: int = SIDE, speed: float = 1.0) -> Tensor:
    """A blob a video that moves to the right, from another place each: (size, length, side^2)."""
    at = torch.arange(side).double()
    start = side * torch.rand(size, 2).double()
    x = (start[:, :1] + speed * torch.arange(length)) % side
    y = start[:, 1:].expand(-1, length)

    def bump(centre: Tensor) -> Tensor:
        return (-((at - centre[..., None]) ** 2) / 2).exp()

    return (bump(y)[..., :, None] * bump(x)[..., None, :]).flatten(-2)


def ragged(s: Tensor, fill: float = float("nan")) -> tuple[Tensor, Tensor]:
    mask = torch.arange(s.shape[1]) < torch.tensor(ENDS)[:, None]
    return torch.where(mask[..., None], s, torch.full_like(s, fill)), mask


def latents(guide: Any, *data: Tensor) -> dict[str, Tensor]:
    """A draw of the guide."""
    nodes = poutine.trace(guide).get_trace(*data).nodes
    return {n: node["value"].detach() for n, node in nodes.items() if _is_latent(node)}


def _is_latent(node: dict[str, Any]) -> bool:
    return node["type"] == "sample" and type(node["fn"]).__name__ != "_Subsample"


def scores(part: Any, values: dict[str, Tensor], *data: Tensor) -> Tensor:
    """Log density (..., B) of values of the latent sites, and of observed ones."""
    trace = poutine.trace(poutine.condition(part, values)).get_trace(*data)
    trace.compute_log_prob()
    sites = [node for name, node in trace.nodes.items() if name in values or name == "s"]
    total: Tensor = sum(node["log_prob"] for node in sites if "log_prob" in node)  # type: ignore
    return total


def gradients(total: Tensor, *parts: Any) -> list[Tensor]:
    parameters = [p for part in parts for p in part.parameters()]
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def assert_alike(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    a, b = ((x,) if isinstance(x, Tensor) else tuple(x) for x in (a, b))
    for one, other in zip(a, b, strict=True):
        assert torch.allclose(one, other, atol=tolerance, rtol=tolerance)


def refusal(model: Any, *data: Any, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        model(*data, **options)
    error = original(caught.value)
    assert isinstance(error, InputError)
    return error


# What holds for all ------------------------------------------------------------------------------


def assert_rows_alone(name: str) -> None:
    """A row of a ragged batch scores as it does alone, cut to its length."""
    model, guide = pair(name)
    s, mask = ragged(blobs())
    z = latents(guide, s, mask)
    ours, theirs = scores(model, z, s, mask), scores(guide, z, s, mask)
    for row, n in enumerate(ENDS):
        alone = {
            k: v[row : row + 1, : n - 1] if v.dim() == 3 else v[row : row + 1] for k, v in z.items()
        }
        cut = s[row : row + 1, :n]
        assert_alike(ours[row], scores(model, alone, cut)[0], 1e-9)
        assert_alike(theirs[row], scores(guide, alone, cut)[0], 1e-9)


def assert_padding_reaches_nothing(name: str) -> None:
    model, guide = pair(name)
    found = []
    for fill in (float("nan"), 0.3):
        data = ragged(blobs(), fill) if not found else (ragged(found[0][0], fill))
        z = latents(guide, *data) if not found else found[0][1]
        total = (scores(model, z, *data) - scores(guide, z, *data)).sum()
        found.append((data[0].nan_to_num(), z, total, gradients(total, model, guide)))
    assert found[0][2].isfinite() and all(bool(g.isfinite().all()) for g in found[0][3])
    assert_alike(found[0][2:3], found[1][2:3], 1e-9)
    assert_alike(found[0][3], found[1][3], 1e-9)


def assert_draws_score_alone(name: str) -> None:
    """Draws under an outer plate score as each does alone, and so do futures have their shapes."""
    model, guide = pair(name)
    s = blobs()
    with pyro.plate("draws", 7, dim=-2):
        theirs = poutine.trace(guide).get_trace(s)
        z = {n: node["value"].detach() for n, node in theirs.nodes.items() if _is_latent(node)}
        ours = poutine.trace(poutine.replay(model, trace=theirs)).get_trace(s, future=4)
        together = scores(model, z, s)
    for k in (0, 6):
        alone = scores(model, {n: v[k] for n, v in z.items()}, s)
        assert_alike(together[k], alone, 1e-9)
    assert ours.nodes["s_next"]["value"].shape == (7, B, 4, D)
    if "z_next" in ours.nodes:
        assert ours.nodes["z_next"]["value"].shape == (7, B, 4, model.latent_dim)
    kept = {n: ours.nodes[n]["value"] for n in z}
    assert_alike(kept.values(), z.values(), 0.0)
    assert ours.nodes["_RETURN"]["value"].shape == (7, B, T + 4, D)


def assert_bound_rises(name: str, repeats: int = 40) -> None:
    """E IWAE_K does not fall with K: each mean within 3 standard errors of the difference."""
    model, guide = pair(name)
    s = blobs()
    before = None
    for k in (1, 5, 20):
        objective = Objective("iwae", num_particles=k)
        bounds = torch.stack([objective.bound(model, guide, (s,)).mean() for _ in range(repeats)])
        now = bounds.mean(), bounds.var() / repeats
        if before is not None:
            assert now[0] > before[0] - 3 * (now[1] + before[1]).sqrt()
        before = now


def assert_refuses_other_frames(name: str) -> None:
    """Wrong frames are refused, with a cure that works."""
    model, guide = pair(name)
    model, guide = model.float(), guide.float()
    raw = (255 * blobs(side=16)).to(torch.uint8).unflatten(-1, (16, 16)).numpy()
    known = {"float_frames": float_frames, "resize_frames": resize_frames}
    names = {"ppl_models": SimpleNamespace(data=SimpleNamespace(**known)), "frames": raw}
    good = float_frames(resize_frames(raw, SIDE))
    assert good.shape == (B, T, D)
    for part in (model, guide):
        small = {**names, "frames": resize_frames(raw, SIDE)}
        hole, missing = good.clone(), torch.ones(B, T, dtype=torch.bool)
        hole[1, 2, 3] = torch.nan
        missing[0, 1] = False
        for wrong, given in (
            (good.mul(255).byte(), small),  # bytes
            (good * 255, small),  # floats up to 255
            (float_frames(raw), names),  # another size
            (good.unflatten(-1, (SIDE, SIDE)), small),  # not flat
            (hole, small),
        ):
            error = refusal(part, wrong)
            cures = tried(error, s=wrong, **given)
            assert cures and cures[0].shape == good.shape
            part(cures[0])
        assert "existing frames first" in refusal(part, good, missing).expected
    s, mask = ragged(good)
    error = refusal(model, s, mask, future=2)
    (cut,) = tried(error, s=s)
    assert model(cut, future=2).shape == (B, 3, D)
    assert "a whole number" in refusal(model, good, future=-1).expected
