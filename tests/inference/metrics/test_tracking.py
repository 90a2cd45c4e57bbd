from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from inference.metrics.tracking import Score, overlaps, score, score_many, table, total
from ppl_models.data.motchallenge import Boxes, read_boxes, read_ground_truth
from ppl_models.errors import InputError

DATA = Path(find_spec("motmetrics").origin).parent / "data"  # type: ignore[union-attr, arg-type]


def walkers(objects: int = 3, frames: int = 60) -> Boxes:
    """Objects far apart, each on a straight line: ids from 1, a box an object and frame."""
    frame, ids = np.repeat(np.arange(frames) + 1, objects), np.tile(np.arange(objects) + 1, frames)
    ltwh = np.stack([200.0 * ids + frame, 50.0 + frame, 0 * ids + 40.0, 0 * ids + 80.0], 1)
    return Boxes(frame, ids, ltwh, np.ones(len(frame)), "walkers")


@pytest.mark.parametrize(
    ("sequence", "mota", "idf1", "ids"),
    [("TUD-Campus", 52.6, 55.8, 7), ("TUD-Stadtmitte", 56.4, 64.5, 7)],
)
def test_the_figures_in_motmetrics_readme(
    sequence: str, mota: float, idf1: float, ids: int
) -> None:
    folder = DATA / sequence
    found = score(read_ground_truth(folder / "gt.txt"), read_boxes(folder / "test.txt"))
    assert (round(found.mota, 1), round(found.idf1, 1), found.ids) == (mota, idf1, ids)


def test_perfect_tracks() -> None:
    truth = walkers()
    found = score(truth, replace(truth, id=truth.id + 10))  # labels need not be the truth's
    assert (found.mota, found.motp, found.idf1) == (100, 100, 100)
    assert (found.ids, found.fp, found.fn, found.mt, found.ml) == (0, 0, 0, 3, 0)
    assert (found.frames, found.objects, found.boxes) == (60, 3, 180)


def test_two_tracks_that_trade_objects_are_charged() -> None:
    """The case that the reference implementation scores as perfect (spec, section 8, item 1)."""
    truth = walkers()
    ids = truth.id.copy()
    late = truth.frame > 30
    ids[late & (truth.id == 1)], ids[late & (truth.id == 2)] = 2, 1
    found = score(truth, replace(truth, id=ids))
    assert found.ids == 2
    assert found.mota == pytest.approx(98.9, abs=0.05)
    assert found.idf1 == pytest.approx(66.7, abs=0.05)


def test_three_tracks_that_rotate_are_charged() -> None:
    truth = walkers()
    ids = np.where(truth.frame > 30, truth.id % 3 + 1, truth.id)
    assert score(truth, replace(truth, id=ids)).ids == 3


def test_missing_boxes_of_perfect_tracks_are_no_switches() -> None:
    """The same item: a missing detection cost the reference two spurious switches."""
    truth = walkers()
    kept = np.ones(len(truth), bool)
    kept[np.random.default_rng(0).choice(len(truth), 40, replace=False)] = False
    found = score(truth, truth.select(kept))
    assert (found.ids, found.fp, found.fn) == (0, 0, 40)
    assert found.mota == pytest.approx(100 * (1 - 40 / 180))


def test_motp_is_the_mean_overlap() -> None:
    truth = walkers(1, 10)
    wide = truth.ltwh * [1, 1, 1.25, 1]  # overlap 0.8
    assert score(truth, replace(truth, ltwh=wide)).motp == pytest.approx(80)


def test_a_match_needs_half_an_overlap() -> None:
    truth = walkers(1, 10)
    half, less = truth.ltwh * [1, 1, 0.5, 1], truth.ltwh * [1, 1, 0.49, 1]
    assert score(truth, replace(truth, ltwh=half)).fn == 0
    found = score(truth, replace(truth, ltwh=less))
    assert (found.fn, found.fp, found.mota) == (10, 10, -100)


def test_mostly_tracked_and_mostly_lost() -> None:
    truth = walkers(3, 100)
    kept = (truth.frame <= 80) & (truth.id == 1) | (truth.frame <= 19) & (truth.id == 2)
    found = score(truth, truth.select(kept | (truth.id == 3) & (truth.frame <= 50)))
    assert (found.mt, found.ml) == (1, 1)


def test_frames_of_one_side_only_count() -> None:
    truth = walkers(2, 20)
    found = score(truth.between(1, 15), truth.between(6, 20))
    assert (found.frames, found.fn, found.fp) == (20, 10, 10)


def test_no_track_at_all() -> None:
    truth = walkers()
    found = score(truth, truth.select(truth.frame < 0))
    assert (found.mota, found.idf1, found.fn, found.ml) == (0, 0, 180, 3)
    assert np.isnan(found.motp) and found.to_dict()["motp"] is None
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["fn"] == 180


def test_rows_in_any_order() -> None:
    truth = walkers()
    order = np.random.default_rng(0).permutation(len(truth))
    shuffled = Boxes(truth.frame[order], truth.id[order], truth.ltwh[order], truth.score[order])
    assert score(truth, shuffled) == score(truth, truth)


def test_pooled_scores_are_those_of_motmetrics() -> None:
    import motmetrics

    names, pairs, accumulators = ("TUD-Campus", "TUD-Stadtmitte"), [], []
    for name in names:
        truth, tracks = (read_boxes(DATA / name / file) for file in ("gt.txt", "test.txt"))
        pairs.append((truth, tracks))
        accumulators.append(motmetrics.MOTAccumulator())
        for frame in np.union1d(truth.frame, tracks.frame):
            g, h = truth.between(frame, frame), tracks.between(frame, frame)
            distance = 1 - overlaps(g.ltwh, h.ltwh)
            distance[distance > 0.5] = np.nan
            accumulators[-1].update(g.id, h.id, distance, frameid=frame)
    metrics = ["mota", "motp", "idf1", "num_switches", "mostly_tracked", "num_frames"]
    host = motmetrics.metrics.create()
    overall = host.compute_many(accumulators, metrics=metrics, generate_overall=True).loc["OVERALL"]
    found = score_many(pairs)
    assert found.mota == pytest.approx(100 * overall.mota)
    assert found.motp == pytest.approx(100 * (1 - overall.motp))
    assert found.idf1 == pytest.approx(100 * overall.idf1)
    assert found.ids == overall.num_switches and found.mt == overall.mostly_tracked
    assert found.frames == overall.num_frames
    assert total([score(*pair) for pair in pairs]) == found


def test_a_sequence_without_a_match_does_not_spoil_the_pool() -> None:
    truth = walkers()
    pooled = score_many([(truth, truth), (truth, truth.select(truth.frame < 0))])
    assert pooled.motp == 100 and pooled.mota == 50


def test_the_table_has_a_line_a_name() -> None:
    found = score(walkers(), walkers())
    assert str(found).split() == (
        "MOTA MOTP IDF1 IDS FP FN MT ML frames objects 100.0 100.0 100.0 0 0 0 3 0 60 3".split()
    )
    lines = table([("one", found), ("a longer name", found)]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("one  ") and lines[2].startswith("a longer name ")


def test_overlaps_against_a_count_of_pixels() -> None:
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.integers(0, 12, (8, 2)), rng.integers(1, 9, (8, 2))], 1)
    grids = np.zeros((8, 24, 24), bool)
    for grid, (left, top, width, height) in zip(grids, boxes, strict=True):
        grid[top : top + height, left : left + width] = True
    both = (grids[:, None] & grids[None]).sum((-1, -2))
    either = (grids[:, None] | grids[None]).sum((-1, -2))
    assert overlaps(boxes.astype(float), boxes.astype(float)) == pytest.approx(both / either)


def test_wrong_input_is_named() -> None:
    truth = walkers()
    none = truth.select(truth.frame < 0)
    with pytest.raises(InputError, match="no ground truth"):
        score(none, truth)
    with pytest.raises(InputError, match="rows without an id"):
        score(truth, replace(truth, id=truth.id * 0 - 1))
    with pytest.raises(InputError, match="id 7 twice in frame 1"):
        score(truth, replace(truth, id=truth.id * 0 + 7))
    with pytest.raises(InputError, match="one sequence or more"):
        score_many([])


def test_a_missing_motmetrics_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "motmetrics", None)
    with pytest.raises(InputError, match=r"pip install 'ppl-models\[tracking\]'"):
        score(walkers(), walkers())


def test_scores_add_up() -> None:
    one = Score(*range(1, 13))
    assert total([one, one, one]) == Score(*(3 * n for n in range(1, 13)))
