"""The schedule of scheduled sampling, and what it sets."""

from __future__ import annotations

from ppl_models.dvae.scheduled_sampling import SamplingSchedule
from ppl_models.dvae.srnn import SRNN


def test_the_schedule_is_that_of_lin_et_al() -> None:
    schedule = SamplingSchedule(200, 1000)
    assert [schedule(k) for k in (0, 200, 600, 1000, 9999)] == [0, 0, 0.5, 1, 1]
    model = SRNN()
    model.set_step(600)
    assert model.sampling_probability == 0
    model.sampling = schedule
    model.set_step(600)
    assert model.sampling_probability == 0.5
