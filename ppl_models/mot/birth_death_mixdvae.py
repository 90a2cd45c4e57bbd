r"""BirthDeathMixDVAE: MixDVAE grown to whole videos, in which objects come, hide and go.

::

    for n in 1..N:        z_n, s_n ~ prior                      paths, as in MixDVAE
                          e_n ~ AR(1)                           lasting errors of the detector
                          life_n1, ..., life_nT ~ Markov        not yet, seen, hidden, gone
    camera ~ walk                                               shared by all objects, mostly still
    for t:                count_t ~ p(K | who is seen)          objects and clutter
                          w_t (or match_t) ~ p(. | who is seen, K)
    for t, k:             o_tk ~ N(box_ntk, phi size_tk^2),  score_tk ~ p(score | object)
                          o_tk ~ Uniform(region),            score_tk ~ p(score | clutter)

where box_nt = camera_t(origin_n + unit_n s_nt), plus its error. A birth is likelier where the box
is at the border of the image, and an object is hidden more often where its box is behind others.

==============  ============================  ============
site            batch shape (plates)          event shape
==============  ============================  ============
``phi``         (B, 1, 1)  sequence           ()
``camera``      (B, 1, 1)  sequence           (T, 4)
``z``           (B, 1, N)  sequence, source   (T, L)
``s``           (B, 1, N)  sequence, source   (T, 4)
``error``       (B, 1, N)  sequence, source   (T, 4)
``life_n_t``    (B, 1, 1)  sequence           ()
``count_t``     (B, 1, 1)  sequence           ()
``w_t``         (B, 1, K)  sequence, detection  ()
``match_t``     (B, 1, 1)  sequence           (), in place of ``w_t`` where ``exclusive``
``o_t``         (B, 1, K)  sequence, detection  (4)
``score_t``     (B, 1, K)  sequence, detection  ()
==============  ============================  ============

``life``, ``w`` and ``match`` are enumerated and summed exactly by `TraceEnum_ELBO`: for some 2 to 4
objects, 4^N states a frame. MixDVAE is the special case of a `Life` in which all slots are present,
always (``Life(births=0, alive=N, death=0, hide=0, hide_behind=0)``), of K given: its share of
clutter is clutter_rate / (N rate + clutter_rate). Detections are a list in random order, K! times
less dense than the set of them.

References: X. Lin, L. Girin, X. Alameda-Pineda, "Mixture of dynamical variational autoencoders for
multi-source trajectory modeling and separation", TMLR 2023 (the mixture; births, deaths, scores,
camera and lasting errors are ours); R. Mahler, "Statistical Multisource-Multitarget Information
Fusion", Artech House 2007, chapter 12 (births, detections and clutter as Poisson processes).
"""

from __future__ import annotations

from typing import NamedTuple

import pyro
import torch
from pyro.distributions import Categorical
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.mixdvae import Detection, chosen, mask_for, place, sample_noise
from ppl_models.mot.camera import Camera, apply_camera
from ppl_models.mot.detector import LastingError, box_units
from ppl_models.mot.life import HIDDEN, SEEN, Life
from ppl_models.mot.matching import Exclusive, Independent, matchings
from ppl_models.mot.occlusion import border_factor, covered, covers
from ppl_models.mot.score import BinnedScores


class Frame(NamedTuple):
    """One frame of B sequences: where detections may be, and what was detected, if anything was."""

    boxes: Tensor
    """(..., B, N, 1, 4): where detections are, but for white noise."""
    scale: Tensor
    """(..., B, 1, K, 4): standard deviations of detections."""
    region: Tensor
    """(B, 2, 4)."""
    exists: Tensor
    """(B, 1, 1) bool: whether the frame is a sequence's own."""
    mask: Tensor
    """(B, 1, K) bool: which places hold a detection."""
    o: Tensor | None
    """(B, 1, K, 4); None to simulate."""
    score: Tensor | None
    """(B, 1, K); None to simulate."""
    found: Tensor | None
    """(B, 1, 1): how many there are; None to simulate."""


class BirthDeathMixDVAE(nn.Module):
    """Objects that are born, hide and end, observed as scored detections and clutter.

    Parameters
    ----------
    prior : nn.Module
        Model of one object's path, as in `MixDVAE`; boxes (centre x, y, log width, log height).
    life : Life
        Constants of births, deaths, occlusion and detection.
    scores : BinnedScores, optional
        What scores say; by default, a start that learning goes on from.
    camera : Camera, optional
        The walk of a moving camera; None for one that stands.
    error : LastingError, optional
        Errors of the detector that last; None for white noise alone.
    clutter_rate : float
        Expected detections a frame that are of no object; above 0.
    exclusive : bool
        Whether an object gives at most one detection a frame.
    phi, phi_strength : float
        As in `MixDVAE`.

    Raises
    ------
    InputError
        A rate of clutter that is not positive.
    """

    def __init__(
        self,
        prior: nn.Module,
        *,
        life: Life | None = None,
        scores: BinnedScores | None = None,
        camera: Camera | None = None,
        error: LastingError | None = None,
        clutter_rate: float = 0.5,
        exclusive: bool = False,
        phi: float = 0.04**2,
        phi_strength: float | None = 20.0,
    ) -> None:
        super().__init__()
        if not 0 < clutter_rate < float("inf"):
            raise InputError("clutter_rate", str(clutter_rate), "above 0", "pass 0.5")
        self.prior, self.life, self.camera, self.error = prior, life or Life(), camera, error
        self.scores = BinnedScores() if scores is None else scores
        self.clutter_rate, self.exclusive = clutter_rate, exclusive
        self.phi, self.phi_strength, self.data_dim = phi, phi_strength, 4

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
        """Score B sequences; with ``o`` None, simulate them. Return the boxes (..., B, N, T, 4).

        Parameters
        ----------
        o, mask, size, origin, unit, region, start, exists : Tensor
            As in `MixDVAE.forward`. N, the number of slots, is that of ``origin``. Simulated
            detections stand in the first ``count_t`` of the K places of a frame, more than K are
            not drawn, and ``mask`` is not read.
        score : Tensor, optional
            (B, T, K): the detections' scores, in (0, 1). NaN says nothing; so does None.

        Raises
        ------
        InputError
            Fewer slots than objects are expected; boxes of other than 4 numbers; frames are padded,
            and the prior's ``path`` does not take a mask.
        """
        (batch, length, _, dim), slots = size.shape, origin.shape[1]
        if dim != 4:
            raise InputError("size", f"{dim} numbers a box", "4", "centre x, y, log width, height")
        hazard = self.life.hazard(slots, length, size)
        size = torch.where(mask[..., None], size, 1.0) if o is not None else size
        own = mask.new_ones(batch, length) if exists is None else exists  # frames
        with pyro.plate("sequence", batch, dim=-3):
            phi = sample_noise(self.phi, self.phi_strength, size)
            boxes, shown = self._boxes(length, origin, unit, region, exists)
            hidden = covers(boxes.transpose(-3, -2))  # (..., B, T, N, N)
            births = border_factor(boxes, region[:, None, None], self.life.border)
            lives: list[Tensor] = []
            spots = pyro.plate("detection", size.shape[2], dim=-1)
            for t in pyro.markov(range(length)):
                rate = births[..., t] * hazard[t - 1] if t else births[..., 0]
                lives = self._live(t, lives, rate, hidden[..., t, :, :])
                scale = phi.sqrt()[..., None] * size[:, t, None]
                seen = _of_frame(t, o, score, mask)
                exists = own[:, t, None, None]
                frame = Frame(shown[..., t, None, :], scale, region, exists, *seen)
                self._detect(t, lives, spots, frame)
        return boxes

    def _boxes(
        self, length: int, origin: Tensor, unit: Tensor, region: Tensor, exists: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Sample paths, camera and lasting errors.

        Return boxes in the image (..., B, N, T, 4), and where the detector sees them.
        """
        padded = mask_for(self.prior.path, exists)  # type: ignore[arg-type]
        if self.camera is not None:
            height = (region[:, 1, 1] - region[:, 0, 1])[:, None, None]
            camera = pyro.sample("camera", self.camera.walk(length, height, **padded))
        with pyro.plate("source", origin.shape[1], dim=-1):
            _, s = self.prior.path(length, **padded)  # type: ignore[operator]
            if self.error is not None:
                error = pyro.sample("error", self.error.walk(length, origin[0, 0], **padded))
        boxes = place(s.squeeze(-4), origin, unit)
        if self.camera is not None:
            centre = region[:, None, None, :, :2].mean(-2)
            boxes = apply_camera(boxes, camera.squeeze(-4), centre)
        if self.error is None:
            return boxes, boxes
        return boxes, boxes + box_units(boxes) * error.squeeze(-4)

    def _live(self, t: int, before: list[Tensor], hazard: Tensor, covers: Tensor) -> list[Tensor]:
        """Sample the states of all slots in frame t: before (N) times (..., B, 1, 1)."""
        slots, lives = hazard.shape[-1], []
        present = _stacked([(x == SEEN) | (x == HIDDEN) for x in before], hazard)
        for n in range(slots):
            if t:
                behind = covered(covers[..., None, None, n, :], present)
                steps = self.life.step(hazard[..., n, None, None], behind)
                logits = chosen(steps, before[n])
            else:
                logits = self.life.initial(slots, hazard)
            law = Categorical(logits=logits)
            lives.append(pyro.sample(f"life_{n}_{t}", law, infer={"enumerate": "parallel"}))
        return lives

    def _detect(self, t: int, lives: list[Tensor], spots: pyro.plate, frame: Frame) -> None:
        """Sample the detections of frame t: how many, of whom, where, and with which scores."""
        seen, law = _stacked([x == SEEN for x in lives], frame.region), self.matching
        count = pyro.sample(f"count_{t}", law.count(seen).mask(frame.exists), obs=frame.found)
        mask = frame.mask
        if frame.found is None:
            mask = torch.arange(spots.size, device=count.device) < count
        if isinstance(law, Exclusive):
            matching = law.assignment(seen, mask[..., None, :])
            index = pyro.sample(f"match_{t}", matching, infer={"enumerate": "parallel"})
            w = matchings(len(lives), spots.size).to(index.device)[index.squeeze(-1)]
        with spots:
            if isinstance(law, Independent):
                shares = law.assignment(seen)
                w = pyro.sample(f"w_{t}", shares, infer={"enumerate": "parallel"})
            mask = mask & frame.exists
            detection = Detection(w, frame.boxes, frame.scale, frame.region)
            pyro.sample(f"o_{t}", detection.mask(mask), obs=frame.o)
            score = self.scores.given(w == len(lives))
            pyro.sample(f"score_{t}", score.mask(mask), obs=frame.score)

    @property
    def matching(self) -> Independent | Exclusive:
        """The law of counts and assignments in a frame."""
        if self.exclusive:
            return Exclusive(self.life.detection, self.clutter_rate)
        return Independent(self.life.rate, self.clutter_rate)


def _stacked(states: list[Tensor], like: Tensor) -> Tensor:
    """Return which slots are in a state, 0 or 1 (..., N); enumerated dims broadcast."""
    if not states:
        return like.new_zeros(0)
    return torch.stack(torch.broadcast_tensors(*states), -1).to(like)


def _of_frame(
    t: int, o: Tensor | None, score: Tensor | None, mask: Tensor
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Return what was detected in frame t: mask, boxes, scores and count, as in `Frame`."""
    here = mask[:, t, None]
    if o is None:
        return here, None, None, None
    boxes = torch.where(here[..., None], o[:, t, None], 0.0)
    scores = torch.full_like(boxes[..., 0], torch.nan) if score is None else score[:, t, None]
    return here, boxes, torch.where(here, scores, 0.0), here.sum(-1, keepdim=True).to(boxes)
