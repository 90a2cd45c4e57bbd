"""Windows of videos of many lengths, and names that go on from one to the next."""

from __future__ import annotations

import numpy as np
import pytest

from inference.tasks.tracking.whole.windows import Followed, join, windows
from ppl_models.errors import InputError


@pytest.mark.parametrize(("longest", "overlap"), [(10, 3), (10, 0), (7, 6), (600, 120), (1, 0)])
def test_windows_cover_every_frame_and_overlap_as_told(longest: int, overlap: int) -> None:
    for length in range(1, 5 * longest, max(1, longest // 30)):
        found = list(windows(4, 3 + length, longest, overlap))
        assert found[0][0] == 4 and found[-1][1] == 3 + length
        assert all(a <= b for a, b in found)
        for (_, end), (begin, _) in zip(found, found[1:], strict=False):
            assert end - begin + 1 == overlap
        sizes = [b - a + 1 for a, b in found]
        assert sizes[:-1] == [longest] * (len(found) - 1)
        assert sizes[-1] <= longest + max(overlap, (longest - overlap) // 2)
        if len(found) > 1:  # no stump is left
            assert sizes[-1] > (longest + overlap) // 2


def test_a_video_not_much_longer_than_a_window_is_one() -> None:
    assert list(windows(1, 840)) == [(1, 840)]
    assert len(list(windows(1, 841))) == 2
    assert len(list(windows(1, 14, 10, 5))) == len(list(windows(1, 17, 10, 7))) == 1
    assert list(windows(10**6, 10**6)) == [(10**6, 10**6)]


@pytest.mark.parametrize(("longest", "overlap"), [(10, 10), (10, 11), (0, 0), (10, -1), (0, -1)])
def test_windows_that_do_not_get_on_are_named(longest: int, overlap: int) -> None:
    with pytest.raises(InputError, match="(?s)window") as error:
        list(windows(1, 100, longest, overlap))
    assert "window=600, overlap=120" in str(error.value)
    assert list(windows(1, 100, 600, 120)) == [(1, 100)]


def followed(rows: list[tuple[int, int, int]]) -> Followed:
    """Rows of (object, frame, detection); x is the object's number."""
    one, frame, detection = np.array(rows, np.int64).reshape(-1, 3).T
    mean = np.stack([one] * 4, -1).astype(float)
    ones = np.ones(len(one))
    return Followed(one, frame, mean, mean, ones, ones, detection)


def names(found: Followed) -> list[tuple[int, int, int]]:
    parts = (found.frame.tolist(), found.object.tolist(), found.detection.tolist())
    return list(zip(*parts, strict=True))


def test_shared_detections_give_the_name_and_new_ones_are_fresh() -> None:
    before = followed([(1, 1, 0), (1, 2, 2), (1, 3, 4), (2, 1, 1), (2, 2, 3), (2, 3, 5)])
    after = followed([(1, 2, 3), (1, 3, 5), (1, 4, 7), (2, 2, 2), (2, 3, 4), (2, 4, 6), (3, 4, 8)])
    found = join(before, after, 2, 3)
    early = [(1, 1, 0), (2, 1, 2), (1, 2, 1), (2, 2, 3)]  # before the middle of the overlap
    assert names(found)[:4] == early
    assert sorted(names(found)[4:]) == [
        (3, 1, 4),
        (3, 2, 5),
        (4, 1, 6),
        (4, 2, 7),
        (4, 3, 8),
    ]


def test_the_more_shared_the_better_and_one_with_one() -> None:
    before = followed([(1, t, t) for t in range(6)] + [(2, t, 10 + t) for t in range(6)])
    after = followed([(5, 3, 3), (5, 4, 14), (5, 5, 15), (6, 5, 5), (7, 4, 4)])
    found = join(before, after, 3, 5)
    later = {detection: one for frame, one, detection in names(found) if frame >= 4}
    assert later[14] == later[15] == 2  # two of one, one of the other
    assert {later[4], later[5]} == {1, 3}  # of two with a claim to 1, one is new


def test_unseen_boxes_share_nothing_and_names_are_not_used_twice() -> None:
    before, after = followed([(1, 0, -1), (1, 1, -1)]), followed([(1, 1, -1), (1, 2, -1)])
    assert names(join(before, after, 1, 1)) == [(0, 1, -1), (1, 2, -1), (2, 2, -1)]


def test_an_empty_window_changes_nothing() -> None:
    some, none = followed([(1, 0, 0), (1, 5, 1)]), Followed.none()
    assert names(join(none, some, 0, 0)) == [(0, 1, 0), (5, 1, 1)]
    assert names(join(some, none, 6, 6)) == [(0, 1, 0), (5, 1, 1)]
    assert not len(join(none, none, 3, 5).object)
    assert len(some.of(np.array([1])).object) == 1
