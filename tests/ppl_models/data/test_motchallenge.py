from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ppl_models.data import compressed
from ppl_models.data.motchallenge import (
    Boxes,
    read_boxes,
    read_ground_truth,
    write_tracks,
)
from ppl_models.errors import InputError

ROW = "1,-1,10,20,30,40,0.9"


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "det.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def boxes_of(frames: list[int]) -> Boxes:
    """Boxes whose left edge is the row's number."""
    ltwh = np.ones((len(frames), 4))
    ltwh[:, 0] = np.arange(len(frames))
    ids = np.full(len(frames), -1)
    return Boxes(np.array(frames, int), ids, ltwh, np.ones(len(frames)))


@pytest.mark.parametrize(
    "content",
    [
        "1,-1,10,20,30,40,0.9\n2,-1,11.25,20,30,40,0.8\n",
        "1,-1,10,20,30,40,0.9,-1,-1,-1\n2,-1,11.25,20,30,40,0.8,-1,-1,-1\n",
        "1 -1 10 20 30 40 0.9\n2 -1 11.25 20 30 40 0.8\n",
        "1\t-1\t10\t20\t30\t40\t0.9\n2\t-1\t11.25\t20\t30\t40\t0.8\n",
        "1, -1, 10, 20, 30, 40, 0.9\n2, -1, 11.25, 20, 30, 40, 0.8",
        "1,-1,10,20,30,40,0.9\r\n2,-1,11.25,20,30,40,0.8\r\n",
        "\n\n1,-1,10,20,30,40,0.9\n\n2,-1,11.25,20,30,40,0.8\n\n  \n\n",
        "frame,id,left,top,width,height,score\n1,-1,10,20,30,40,0.9\n2,-1,11.25,20,30,40,0.8\n",
        "\n# by a detector, 2020\n1,-1,10,20,30,40,0.9\n2,-1,11.25,20,30,40,0.8\n",
        "\ufeff1,-1,10,20,30,40,0.9\n2,-1,11.25,20,30,40,0.8\n",
        "\ufeffframe,id,x,y,w,h,s\n1,-1,10,20,30,40,0.9\n2,-1,11.25,20,30,40,0.8\n",
        "2,-1,11.25,20,30,40,0.8\n1,-1,10,20,30,40,0.9\n",
        "1,-1,10,20,30,40,0.9\n2,-1,11.25,20,30,40,0.8\n1,-1,10,20,30,40,0.9\n",
        "1.0,-1.0,1e1,20,30,40,0.9\n2.0,-1,11.25,20,30,40,0.8\n",
        "cadre,id,numéro,y,w,h,s\n1,-1,10,20,30,40,0.9\n2,-1,11.25,20,30,40,0.8\n".encode(
            "latin-1"
        ),
    ],
    ids=(
        "7-columns 10-columns spaces tabs blanks-after-commas windows blank-lines header comment "
        "bom bom-header order duplicates floats latin-1-header"
    ).split(),
)
def test_two_rows_in_many_dresses(tmp_path: Path, content: str | bytes) -> None:
    boxes = read_boxes(written(tmp_path, content))
    assert boxes.frame.tolist() == [1, 2] and boxes.id.tolist() == [-1, -1]
    assert boxes.ltwh.tolist() == [[10, 20, 30, 40], [11.25, 20, 30, 40]]
    assert boxes.score.tolist() == [0.9, 0.8]
    assert boxes.name.endswith("det.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows"),
        ("\n\n", "no rows"),
        ("frame,id,left,top,width,height,score\n", "no rows"),
        (f"{ROW}\n1,-1,nan,20,30,40,1\n", r"line 2: saw NaN or infinity in '1,-1,nan.*1 such row"),
        (f"{ROW}\n1,-1,inf,20,30,40,1\n", "line 2: saw NaN or infinity"),
        (f"{ROW}\n1,-1,5,20,30,40,nan\n", "line 2: saw NaN or infinity"),
        (f"\n{ROW}\n\n2,-1,5,20,-30,40,1\n", "line 4: saw width or height"),
        (f"{ROW}\n2,-1,5,20,30,0,1\n", "line 2: saw width or height"),
        (f"{ROW}\n0,-1,5,20,30,40,1\n", "line 2: saw the frame"),
        (f"{ROW}\n1.5,-1,5,20,30,40,1\n", "line 2: saw the frame"),
        (f"{ROW}\n1e300,-1,5,20,30,40,1\n", "line 2: saw the frame"),
        (f"{ROW}\n1,2.5,5,20,30,40,1\n", "line 2: saw the id"),
        (f"{ROW}\n1,1e300,5,20,30,40,1\n", "line 2: saw the id"),
        (f"h,i,j,k,l,m,n\n{ROW}\n1,-1,x,20,30,40,1\n", "line 3: saw '1,-1,x,20,30,40,1'"),
        (f"{ROW}\n1,-1,,20,30,40,1\n", "line 2"),
        ("1,-1,a,20,30,40,1\n" + ROW, "line 1: saw '1,-1,a,20,30,40,1'"),  # no header
        (f"{ROW}\n{ROW},-1,-1,-1\n", "line 2: saw 10 columns after rows of 7"),
        ("1,-1,10,20,30,40\n", "6 columns"),
        (f"{ROW},1,1,1,1\n", "11 columns"),
        ("1;-1;10;20;30;40;1\n1;-1;10;20;30;40;1\n", "line 1: saw semicolons[\\s\\S]*commas"),
        ("\n1;-1;10,5;20;30;40;1\n", "line 2: saw semicolons"),
        (f"{ROW}\n1;-1;10;20;30;40;1\n", "line 2: saw 1 columns after rows of 7: '1;-1"),
        ("l,-l,lO,2O,3O,4O,l\n" + ROW, "line 1: saw 'l,-l.*neither a row of numbers nor a hea"),
        ("my detections\n" + ROW, "line 1: saw 'my detections', .*nor a header"),
        ("detections of camera 2\n" + ROW, "line 1: saw 4 columns: 'detections of camera 2'"),
        ("a,a,a,a,a,a,a\n" + ROW, "line 1: saw 'a,a.*nor a header"),  # a column has its own name
        ("f,i,l,t,w,h,s,x\n" + ROW, "line 1: saw 8 names over 7 columns"),
        (
            f"f,i,l,t,w,h,s\nframe,id,left,top,width,height,score\n{ROW}",
            "line 2: saw 'frame.*a second header",
        ),
        (f"{ROW}\nf,i,l,t,w,h,s\n{ROW}", "line 2: saw 'f,i.*a header among rows"),
        (f"{ROW},\n{ROW},\n", "line 1: saw a comma at the end of the line"),
        (f"{ROW}\n{ROW},\n", r"line 2: saw 8 columns.*the last one empty \(a comma at the end\)"),
        (f"{ROW}\n1,-1,1_0,20,30,40,1\n{ROW}", "line 2: saw .*in column 3, '1_0' is no number"),
        (f"{ROW}\n1,-1,,20,30,40,1\n", "line 2: saw .*in column 3, it is empty"),
        (f"{ROW}\n\n# so\n1,-1,x,20,30,40,1 # bad\n", "line 4: saw .*in column 3, 'x'"),
        (f"{ROW}\n2,-1,1e160,20,30,40,1\n", "line 2: saw left or top[\\s\\S]*1,000,000 pixels"),
        (f"{ROW}\n2,-1,1,-2e6,30,40,1\n", "line 2: saw left or top"),
        (f"{ROW}\n2,-1,10,20,1e160,40,1\n", "line 2: saw width or height"),
        (f"{ROW}\n2,-1,10,20,30,1e-300,1\n", "line 2: saw width or height[\\s\\S]*0.001 to"),
        (f"{ROW}\n2,-1,caf\xe9,20,30,40,1\n".encode("latin-1"), "line 2"),
        (f"{ROW}\n".encode("utf-16"), "line 1: saw text in UTF-16"),
        (bytes(range(256)) * 40, "line|no rows"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00", "line"),
    ],
)
def test_what_is_not_of_this_form_is_named(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_boxes(written(tmp_path, content))
    assert "det.txt" in str(error.value) and "cure:" in str(error.value)


PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("name", ["det.txt.{}", "det.txt"])
def test_compressed_rows_are_those_of_the_text(tmp_path: Path, kind: str, name: str) -> None:
    """The first row, too; and by what is in the file, not by its name."""
    text = "1,-1,10,20,30,40,0.9\n2,-1,11.25,20,30,40,0.8\n"
    path = tmp_path / name.format(kind)
    for rows in (text, f"frame,id,left,top,width,height,score\n{text}", f"\n{text}"):
        path.write_bytes(PACKED[kind](rows.encode()))
        boxes = read_boxes(path)
        assert boxes.ltwh.tolist() == [[10, 20, 30, 40], [11.25, 20, 30, 40]]
    path.write_bytes(PACKED[kind](f"{ROW}\n\n1,-1,x,20,30,40,1".encode()))
    with pytest.raises(InputError, match="line 3"):
        read_boxes(path)
    (tmp_path / f"plain.{kind}").write_text(text)
    assert len(read_boxes(tmp_path / f"plain.{kind}")) == 2


@pytest.mark.parametrize("kind", PACKED)
def test_damaged_compressed_files_are_named(tmp_path: Path, kind: str) -> None:
    rng, path = np.random.default_rng(0), tmp_path / f"det.txt.{kind}"
    numbers = rng.uniform(1, 900, (400, 4)).round(2).tolist()
    text = "".join(f"{t},-1,{a},{b},{c},{d},1\n" for t, (a, b, c, d) in enumerate(numbers, 1))
    whole = PACKED[kind](text.encode())
    for length in (6, 12, len(whole) // 3, len(whole) - 2):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="damaged (gzip|bzip2|xz) data"):
            read_boxes(path)
    for place in rng.integers(80, 8 * len(whole) - 80, 30).tolist():
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(InputError, match=path.name):
            read_boxes(path)


@pytest.mark.parametrize("kind", PACKED)
def test_a_decompression_bomb_is_not_unpacked(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "LARGEST", 100_000)
    path = tmp_path / "det.txt"
    path.write_bytes(PACKED[kind](ROW.encode() + b" " * 30_000_000))
    assert path.stat().st_size < 40_000
    tracemalloc.start()
    with pytest.raises(InputError, match="100,000 bytes once it is decompressed") as raised:
        read_boxes(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000  # the text has 30 million
    assert "compressed.LARGEST" in raised.value.cure
    path.write_bytes(f"{ROW}\n".encode() * 5_000)
    with pytest.raises(InputError, match="more than 100,000 bytes\n"):
        read_boxes(path)


def test_a_small_file_does_not_ask_for_a_large_array() -> None:
    boxes = boxes_of([1] * 19_999 + [99_999])
    with pytest.raises(InputError, match="99,999 frames, with up to 19,999 boxes") as raised:
        boxes.padded(1, 99_999)
    assert "frame 1," in raised.value.cure and "MOST_PLACES" in raised.value.expected
    assert boxes.padded(1, 500).shape == (500, 19_999, 4)


def test_what_is_not_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_boxes(tmp_path / "none.txt")
    with pytest.raises(InputError, match="a folder"):
        read_boxes(tmp_path)


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, ROW)

    def refuse(*_: object, **__: object) -> None:  # the superuser may read what chmod forbids
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="no permission to read it"):
        read_boxes(path)


def test_duplicates_are_exact_and_order_is_kept(tmp_path: Path) -> None:
    rows = ["2,-1,5,1,9,9,1", "1,-1,8,1,9,9,1", "1,-1,5,1,9,9,1", "1,-1,8,1,9,9,1"]
    rows += ["1,-1,8,1,9,9,0.5", "2,-1,5,1,9,9,1", "1,-1,8,2,9,9,1", "1,-1,8,1,9,9,1"]
    boxes = read_boxes(written(tmp_path, "\n".join(rows)))
    found = np.column_stack([boxes.frame, boxes.ltwh[:, :2], boxes.score]).tolist()
    assert found == [[1, 8, 1, 1], [1, 5, 1, 1], [1, 8, 1, 0.5], [1, 8, 2, 1], [2, 5, 1, 1]]


def test_a_million_rows(tmp_path: Path) -> None:
    rows = 50_000
    table = np.random.default_rng(0).uniform(1, 2000, (rows, 6)).round(2)
    text = "".join(f"{int(a)},-1,{b},{c},{d},{e},{f}\n" for a, b, c, d, e, f in table.tolist())
    path = written(tmp_path, text * 20)
    boxes = read_boxes(path)
    assert len(boxes) == rows and (np.diff(boxes.frame) >= 0).all()
    assert np.sort(boxes.ltwh[:, 0]) == pytest.approx(np.sort(table[:, 1]))


def test_ground_truth_keeps_the_rows_that_count(tmp_path: Path) -> None:
    path = written(
        tmp_path, "1,1,10,20,30,40,1,1,1\n1,2,10,20,30,40,0,7,1\n2,1,10,20,30,40,1,1,0.1"
    )
    assert read_ground_truth(path).id.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROW, "rows without an id"),
        ("1,1,10,20,30,40,0,1,1", "no row with flag 1"),
        ("1,1,10,20,30,40,1,1,1\n1,1,11,20,30,40,1,1,1", "an id twice"),
    ],
)
def test_ground_truth_that_is_none_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_ground_truth(written(tmp_path, content))


def test_low_scores_are_dropped_where_scores_are_probabilities() -> None:
    boxes = boxes_of([1, 2, 3])

    def kept(*scores: float) -> int:
        return len(Boxes(boxes.frame, boxes.id, boxes.ltwh, np.array(scores)).confident(0.3))

    assert kept(0.1, 0.3, 1.0) == 2
    assert kept(-1, -1, -1) == kept(0, 0, 0) == kept(-0.5, 0.1, 2.3) == kept(0.1, 50, 99) == 3
    assert len(boxes.select(boxes.frame > 9).confident()) == 0


def test_padded_puts_each_box_in_its_frame() -> None:
    padded = boxes_of([2, 2, 3, 5, 5, 5, 9]).padded(1, 6)
    assert padded.shape == (6, 3, 4)
    assert np.isnan(padded[[0, 3, 5]]).all()
    assert padded[4, :, 0].tolist() == [3, 4, 5]
    assert np.isnan(boxes_of([2]).padded(7, 8)).all()
    with pytest.raises(InputError, match="before frame 5"):
        boxes_of([2]).padded(5, 2)


@given(st.lists(st.integers(1, 12)), st.integers(1, 12), st.integers(0, 12))
def test_padded_holds_what_lies_between(frames: list[int], first: int, more: int) -> None:
    boxes, last = boxes_of(frames), first + more
    padded = boxes.padded(first, last)
    present = ~np.isnan(padded).any(-1)
    expected = [frames.count(frame) for frame in range(first, last + 1)]
    assert present.sum(1).tolist() == expected
    assert padded.shape[:2] == (more + 1, max(1, *expected))
    assert padded[present].tolist() == boxes.between(first, last).ltwh.tolist()


def test_rows_are_sorted_by_frame() -> None:
    boxes = boxes_of([3, 1, 2, 1])
    assert boxes.frame.tolist() == [1, 1, 2, 3] and boxes.ltwh[:, 0].tolist() == [1, 3, 2, 0]


def test_arrays_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match="one row a box"):
        Boxes(np.arange(3), np.arange(3), np.ones((2, 4)), np.ones(3))


corner, size = st.floats(-1e4, 1e4), st.floats(0, 5e3, exclude_min=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.integers(1, 3).flatmap(
        lambda n: st.lists(
            st.lists(st.tuples(corner, corner, size, size), min_size=n, max_size=n),
            min_size=1,
            max_size=4,
        )
    ),
    st.integers(1, 10**6),
)
def test_tracks_come_back_to_a_thousandth(
    tmp_path: Path, frames: list[list[tuple[float, ...]]], first: int
) -> None:
    tracks = np.moveaxis(np.array(frames), 1, 0)
    write_tracks(tmp_path / "tracks.txt", tracks, first)
    boxes = read_ground_truth(tmp_path / "tracks.txt")
    n, t = tracks.shape[:2]
    assert boxes.frame.tolist() == np.repeat(np.arange(first, first + t), n).tolist()
    assert boxes.id.tolist() == np.tile(np.arange(n) + 1, t).tolist()
    assert boxes.padded(first, first + t - 1) == pytest.approx(np.array(frames), abs=1.001e-3)


def test_tracks_are_written_as_motchallenge_wants_them(tmp_path: Path) -> None:
    write_tracks(tmp_path / "tracks.txt", np.arange(1.0, 9.0).reshape(2, 1, 4), first=23)
    assert (tmp_path / "tracks.txt").read_text() == (
        "23,1,1.000,2.000,3.000,4.000,1,-1,-1,-1\n23,2,5.000,6.000,7.000,8.000,1,-1,-1,-1\n"
    )


def test_tracks_with_nan_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NaN"):
        write_tracks(tmp_path / "tracks.txt", np.full((1, 1, 4), np.nan))
    assert not list(tmp_path.iterdir())


def test_a_device_is_not_called_missing() -> None:
    with pytest.raises(InputError, match="a device or a pipe"):
        read_boxes("/dev/zero")


def test_a_file_without_rows_is_read_where_it_may_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "det.txt"
    for content in ("", "\n# nothing\n", "frame,id,left,top,width,height,score\n"):
        path.write_text(content)
        found = read_boxes(path, empty=True)
        assert len(found) == 0 and found.ltwh.shape == (0, 4) and found.name == str(path)
        with pytest.raises(InputError, match="no rows"):
            read_boxes(path)
    path.write_text("1,-1,10,20,nan,40,0.9\n")
    with pytest.raises(InputError, match="NaN"):
        read_boxes(path, empty=True)
