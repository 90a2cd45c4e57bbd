r"""Guide of BirthDeathMixDVAE: q(phi) q(camera | o) q(s | o) q(z | s) q(error | o).

Lives and assignments are summed exactly by the ELBO, not guided. Paths and phi are those of the
guide of MixDVAE. What the paths of all objects have in common beside where they start from is a
step of the camera, in a share that is learned (at first none); likewise what each has by itself is
an error of the detector.

Reference: that of `ppl_models.mot.birth_death_mixdvae`.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.base import ReadingGuide, needed
from guides.mixdvae import MixDVAEGuide
from ppl_models.mixdvae import mask_for
from ppl_models.mot import BirthDeathMixDVAE, Camera, LastingError, box_units


class BirthDeathMixDVAEGuide(ReadingGuide[BirthDeathMixDVAE]):
    """q(phi) q(camera | o) q(s | o) q(z | s) q(error | o) of `BirthDeathMixDVAE`.

    Parameters
    ----------
    model : BirthDeathMixDVAE
        Read by reference.
    source_guide : nn.Module
        Guide of the model's prior: its ``path(s)`` samples z (or nothing) given s.
    hidden_dim : int
        Size of the GRU's state, in each direction.
    """

    def __init__(
        self, model: BirthDeathMixDVAE, source_guide: nn.Module, *, hidden_dim: int = 16
    ) -> None:
        super().__init__(model)
        self.paths = MixDVAEGuide(model, source_guide, hidden_dim=hidden_dim)  # type: ignore[arg-type]
        if model.camera is not None:
            self.camera_share = nn.Parameter(torch.zeros(2))
            self.camera_log_scale = nn.Parameter(torch.zeros(4))
        if model.error is not None:
            self.error_share = nn.Parameter(torch.zeros(4))
            self.error_log_scale = nn.Parameter(torch.zeros(4))

    def forward(
        self,
        o: Tensor | None,
        mask: Tensor,
        size: Tensor,
        origin: Tensor,
        unit: Tensor,
        region: Tensor,
        score: Tensor | None = None,
        start: Tensor | None = None,
        exists: Tensor | None = None,
    ) -> Tensor:
        """Draw phi, camera, s, z and error; arguments as `BirthDeathMixDVAE.forward`. Return s."""
        o = needed(o, "o", "detections (B, T, K, 4)")
        start = needed(start, "start", "paths (B, N, T, 4) to start from")
        model, paths = self.model, self.paths
        with pyro.plate("sequence", size.shape[0], dim=-3):
            if model.phi_strength is not None:
                pyro.sample("phi", dist.Delta(paths.phi(size)[:, None, None]))
            loc, scale = paths.moments(o, mask, size, origin, unit, start, exists)
            moved = origin[:, :, None] + unit[:, :, None] * loc - start  # (B, N, T, 4)
            if model.camera is not None:
                shift = self._camera(model.camera, moved, region, exists)
                loc = loc - shift[:, None] / unit[:, :, None]
            with pyro.plate("source", origin.shape[1], dim=-1):
                s = pyro.sample("s", _normal(loc[:, None], scale[:, None], exists))
                path = paths.source_guide.path
                path(s, **mask_for(path, exists))  # type: ignore[operator, arg-type]
                if model.error is not None:
                    self._error(model.error, moved / box_units(start), exists)
        return s

    def _camera(
        self, camera: Camera, moved: Tensor, region: Tensor, exists: Tensor | None
    ) -> Tensor:
        """Draw the camera from what all paths have in common; return its mean, (B, T, 4)."""
        common = moved[..., :2].mean(1) * self.camera_share
        shift = torch.cat([common, torch.zeros_like(common)], -1)
        height = (region[:, 1, 1] - region[:, 0, 1])[:, None]
        unit = torch.cat([height, height, torch.ones_like(height.expand(-1, 2))], -1)
        scale = unit * unit.new_tensor(camera.still_scale) * self.camera_log_scale.exp()
        spread = scale[:, None].expand_as(shift)
        pyro.sample("camera", _normal(shift[:, None, None], spread[:, None, None], exists))
        return shift

    def _error(self, error: LastingError, moved: Tensor, exists: Tensor | None) -> None:
        """Draw the detector's errors from what each path has by itself, (B, N, T, 4), in boxes."""
        loc = (moved * self.error_share)[:, None]
        scale = (error.scale * self.error_log_scale.exp()).expand_as(loc)
        pyro.sample("error", _normal(loc, scale, exists))


def _normal(loc: Tensor, scale: Tensor, exists: Tensor | None) -> dist.TorchDistribution:
    """Return Normal paths (B, 1, N, T, D), of the frames that exist (B, T) alone."""
    q: dist.TorchDistribution = dist.Normal(loc, scale)
    if exists is not None:
        q = q.mask(exists[:, None, None, :, None])
    return q.to_event(2)
