from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer

from inference.cli.track_jobs import (
    bundled,
    folders_of,
    frame_range,
    parse_size,
    parse_window,
    read_job,
)
from ppl_models.data.motchallenge import Boxes
from ppl_models.errors import InputError

OUT = Path("out")


def boxes_of(frames: list[int], ids: list[int] | None = None, name: str = "boxes") -> Boxes:
    identity = np.array(ids or [1] * len(frames))
    return Boxes(np.array(frames), identity, np.ones((len(frames), 4)), np.ones(len(frames)), name)


def test_the_frames_asked_for_come_first_then_the_truth_s_then_all() -> None:
    found, truth = boxes_of([3, 5, 9]), boxes_of([4, 6])
    path = Path("nowhere/det.txt")
    assert frame_range(path, found, (2, 5), truth) == (2, 5)
    assert frame_range(path, found, None, truth) == (4, 6)
    assert frame_range(path, found, None, None) == (3, 9)


def test_seqinfo_says_how_long_a_sequence_is(tmp_path: Path) -> None:
    info = tmp_path / "seqinfo.ini"
    info.write_text("[Sequence]\nname=50%\nseqLength=12\n")
    found = boxes_of([3, 5])
    assert frame_range(tmp_path / "det.txt", found, None, None) == (1, 12)
    assert frame_range(tmp_path / "cut.txt", found, None, None) == (3, 5)
    assert frame_range(tmp_path / "det.txt", found, (3, 4), None) == (3, 4)
    for text in (
        "[Sequence]\nseqLength=long\n",
        "[Other]\n",
        "nonsense",
        "[Sequence]\nseqLength=0",
    ):
        info.write_text(text)
        with pytest.raises(InputError, match="--frames") as error:
            frame_range(tmp_path / "det.txt", found, None, None)
        assert "seqinfo.ini" in str(error.value)


@pytest.mark.parametrize(
    ("found", "truth", "frames", "message"),
    [
        ([1, 9], None, (3, 4), "det.txt: saw rows in the frames 1 to 9"),
        ([1, 9], [90, 99], None, "det.txt: saw rows in the frames 1 to 9"),
        ([1, 9], [90, 99], (1, 9), "gt.txt: saw rows in the frames 90 to 99"),
        ([1, 2_000_000_000], None, None, "at most 100000 frames"),
    ],
)
def test_a_range_without_rows_is_named(
    found: list[int], truth: list[int] | None, frames: tuple[int, int] | None, message: str
) -> None:
    true = None if truth is None else boxes_of(truth, name="gt.txt")
    with pytest.raises(InputError, match=message):
        frame_range(Path("det.txt"), boxes_of(found, name="det.txt"), frames, true)


def test_scores_are_cut_by_default_only_where_they_are_probabilities(tmp_path: Path) -> None:
    path = tmp_path / "det.txt"

    def kept(scores: tuple[float, ...], least: float | None) -> int:
        path.write_text("".join(f"{i + 1},-1,{i},1,9,9,{s}\n" for i, s in enumerate(scores)))
        return len(read_job(path, None, None, least, OUT).detections)

    assert kept((0.1, 0.4, 0.9), None) == 2
    assert kept((-0.1, 0.4, 9.0), None) == 3
    assert kept((-0.1, 0.4, 9.0), 0.5) == 1
    with pytest.raises(InputError, match="no score above 0.2"):
        kept((0.1, 0.2), None)


def test_each_file_has_its_folder() -> None:
    assert folders_of([Path("a/x.txt"), Path("b/y.det")], OUT) == [OUT / "x", OUT / "y.det"]
    for twice in (["a.txt", "a.txt"], ["p/det.txt", "q/det.txt"], ["a", "a.txt"]):
        with pytest.raises(InputError, match="rename one") as error:
            folders_of([Path(name) for name in twice], OUT)
        assert all(name in str(error.value) for name in twice)


def test_sizes_and_windows_are_read_or_refused() -> None:
    assert parse_size(None) is None and parse_window(None) is None
    assert parse_size("1920x1080") == (1920.0, 1080.0) and parse_window("23:62") == (23, 62)
    for size in ("1920", "0x10", "ax9", "-1x9", "1920x1080x3", ""):
        with pytest.raises(typer.BadParameter, match="1920x1080"):
            parse_size(size)
    for window in ("5:2", "0:9", "5", "a:b", "1:2:3", "-3:4", ""):
        with pytest.raises(typer.BadParameter, match="A:B"):
            parse_window(window)


def test_the_demo_s_data_come_with_motmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (bundled("TUD-Stadtmitte") / "gt.txt").is_file()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ppl-models\[tracking\]'"):
        bundled("TUD-Stadtmitte")


def test_a_compressed_file_is_named_as_its_text(tmp_path: Path) -> None:
    paths = [Path("a.txt.gz"), Path("b.txt.bz2"), Path("c.xz"), Path("d.e.txt")]
    assert [f.name for f in folders_of(paths, tmp_path)] == ["a", "b", "c", "d.e"]
    with pytest.raises(InputError, match="both a.txt and a.txt.xz"):
        folders_of([Path("a.txt"), Path("a.txt.xz")], tmp_path)
