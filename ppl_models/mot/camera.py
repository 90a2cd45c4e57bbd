r"""A moving camera: one latent a frame, shared by all objects, that mostly stays where it is.

The camera of a frame is c_t = (shift x, shift y, log zoom, roll), from the world, which is the
image at rest, to the image; x and y in the boxes' units, the roll in radians, y pointing down:

.. math::
    (x, y)' = m + \mathrm{shift} + e^{\mathrm{zoom}} R(\mathrm{roll}) ((x, y) - m),
    \qquad \log w' = \log w + \mathrm{zoom}, \quad \log h' = \log h + \mathrm{zoom},

about the image's centre m. Its walk begins at rest, c_0 = 0, and in each frame it either stands
still or moves: c_t - c_{t-1} is Normal with narrow or with broad scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions import Normal

from ppl_models.errors import InputError

Scales = tuple[float, float, float, float]


@dataclass(frozen=True)
class Camera:
    """Constants of the camera's walk.

    Parameters
    ----------
    moving : float
        Share of frames in which the camera moves, in (0, 1).
    still_scale, moving_scale : 4 floats
        Standard deviations of a step of (shift x, shift y, log zoom, roll), in image heights
        (shift) and radians (roll): of a camera that stands, and of one that moves.

    Raises
    ------
    InputError
        A share or a scale out of range.
    """

    moving: float = 0.1
    still_scale: Scales = (1e-4, 1e-4, 1e-4, 1e-4)
    moving_scale: Scales = (0.01, 0.005, 0.003, 0.002)

    def __post_init__(self) -> None:
        if not 0 < self.moving < 1:
            raise InputError("moving", str(self.moving), "0 < moving < 1", "pass 0.1")
        for field in fields(self)[1:]:
            scales = getattr(self, field.name)
            if len(scales) != 4 or not all(scale > 0 for scale in scales):
                cure = f"pass {field.default}"
                raise InputError(field.name, str(scales), "4 positive numbers", cure)

    def walk(self, length: int, height: Tensor, mask: Tensor | None = None) -> CameraWalk:
        """Return the law of camera paths (T, 4) in images of ``height`` (...)."""
        one = torch.ones_like(height)
        unit = torch.stack([height, height, one, one], -1)
        still, moving = (unit * unit.new_tensor(x) for x in (self.still_scale, self.moving_scale))
        return CameraWalk(length, still, moving, self.moving, mask)


class CameraWalk(TorchDistribution):
    """c_t = c_{t-1} + step, c_0 = 0, the step narrow or (with probability ``share``) broad.

    Shapes: still and moving (..., 4), standard deviations; mask (..., T) of the frames that exist.
    Event shape (T, 4); all frames are scored at once.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)

    def __init__(
        self,
        length: int,
        still: Tensor,
        moving: Tensor,
        share: float,
        mask: Tensor | None = None,
    ) -> None:
        self.still, self.moving, self.share, self.mask_frames = still, moving, share, mask
        batch = still.shape[:-1]
        if mask is not None:
            batch = torch.broadcast_shapes(batch, mask.shape[:-1])
        super().__init__(batch, torch.Size([length, still.shape[-1]]), validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> CameraWalk:
        """Return the same walk in each place of a larger batch."""
        still, moving = (x.expand(*batch_shape, -1) for x in (self.still, self.moving))
        mask = self.mask_frames
        mask = None if mask is None else mask.expand(*batch_shape, -1)
        return CameraWalk(self.event_shape[0], still, moving, self.share, mask)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw paths (sample_shape, batch, T, 4)."""
        shape = *sample_shape, *self.batch_shape, *self.event_shape
        moves = torch.rand(*shape[:-1], 1, dtype=self.still.dtype, device=self.still.device)
        scale = torch.where(moves < self.share, self.moving[..., None, :], self.still[..., None, :])
        return (scale * torch.randn_like(scale.expand(shape))).cumsum(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Score paths (..., T, 4); frames that do not exist, the last ones, count nothing."""
        step = value.diff(dim=-2, prepend=torch.zeros_like(value[..., :1, :]))
        if self.mask_frames is not None:  # before any arithmetic: what stands there is not read
            step = torch.where(self.mask_frames[..., None], step, 0.0)
        share = value.new_tensor(self.share)
        laws = (Normal(0.0, x[..., None, :], False) for x in (self.still, self.moving))
        still, moving = (law.log_prob(step).sum(-1) for law in laws)
        frames = torch.logaddexp(still + torch.log1p(-share), moving + share.log())
        if self.mask_frames is not None:
            frames = torch.where(self.mask_frames, frames, 0.0)
        return frames.sum(-1)


def apply_camera(boxes: Tensor, camera: Tensor, centre: Tensor) -> Tensor:
    """Return boxes of the world as the camera sees them, (..., 4).

    Parameters
    ----------
    boxes : Tensor
        (..., 4): centre x and y, log width, log height.
    camera : Tensor
        (..., 4): shift x and y, log zoom, roll. Batch dims broadcast.
    centre : Tensor
        (..., 2): the middle of the image.
    """
    shift, zoom = camera[..., :2], camera[..., 2:3]
    place = zoom.exp() * _turned(boxes[..., :2] - centre, camera[..., 3]) + centre + shift
    return _joined(place, boxes[..., 2:] + zoom)


def undo_camera(boxes: Tensor, camera: Tensor, centre: Tensor) -> Tensor:
    """Return boxes of the image as they are in the world: the inverse of `apply_camera`."""
    shift, zoom = camera[..., :2], camera[..., 2:3]
    place = _turned((boxes[..., :2] - centre - shift) / zoom.exp(), -camera[..., 3]) + centre
    return _joined(place, boxes[..., 2:] - zoom)


def _turned(place: Tensor, angle: Tensor) -> Tensor:
    """Return places (..., 2) turned by an angle (...)."""
    cos, sin, (x, y) = angle.cos(), angle.sin(), place.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1)


def _joined(place: Tensor, size: Tensor) -> Tensor:
    return torch.cat(torch.broadcast_tensors(place, size), -1)
