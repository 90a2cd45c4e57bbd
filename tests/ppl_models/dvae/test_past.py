from __future__ import annotations

import torch

from ppl_models import SRNN


def test_a_frame_of_a_known_sequence_keeps_the_latents_of_another_past() -> None:
    """Frame t is read from the sequence, time and all; z_{t-1} and w are those of `now`."""
    model = SRNN(3, 2).double()
    s, z = torch.randn(4, 6, 3).double(), torch.randn(4, 6, 2).double()
    known = model.teacher_forced_past(s, z)
    now = model.start((5, 4), None)
    for t in (0, 3, 5):
        at = known.at(t, (5, 4), now)
        assert at.t == t
        assert torch.equal(at.s, known.s[:, t : t + 1].expand(5, 4, 1, 3))
        assert torch.equal(at.z, now.z) and at.memory is now.memory
        if t:
            assert torch.equal(at.s[0, :, 0], s[:, t - 1])
