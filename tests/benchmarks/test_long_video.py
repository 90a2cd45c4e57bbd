from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import long_video
from benchmarks.long_video import CLUTTER, DETECTED, crowd


def test_about_as_many_people_are_boxed_in_each_frame() -> None:
    boxes = crowd(4000, 20.0)
    count = np.bincount(boxes.frame, minlength=4001)[1:]
    for part in np.split(count, 4):  # 40 s each, stays of 8 s: a standard error of about 2
        assert part.mean() == pytest.approx(20 * DETECTED + CLUTTER, abs=6)
    assert (boxes.ltwh[:, 2:] > 0).all() and (np.diff(boxes.frame) >= 0).all()
    assert np.array_equal(crowd(4000, 20.0).ltwh, boxes.ltwh)


def test_a_process_says_what_it_took(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["long_video", "--one", "60", "--people", "3"])
    long_video.main()
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 60 and found["seconds"] > 0 and found["rows"] > 60
