from __future__ import annotations

from pathlib import Path

import pytest

from inference.cli.several import listed, repeated

ONE_EACH = ["--sources", "speech", "--sources", "flute"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("m.wav --sources speech flute --out D", ["m.wav", *ONE_EACH, "--out", "D"]),
        ("--sources speech flute m.wav --out D", [*ONE_EACH, "m.wav", "--out", "D"]),
        ("m.wav --out D --sources speech flute", ["m.wav", "--out", "D", *ONE_EACH]),
        ("--sources speech --sources flute m.FLAC", [*ONE_EACH, "m.FLAC"]),
        ("--sources=speech flute", ["--sources=speech", "--sources", "flute"]),
        ("--sources speech,flute m.wav", ["--sources", "speech,flute", "m.wav"]),
        ("--out D --seed 1 m.wav", ["--out", "D", "--seed", "1", "m.wav"]),
        ("--sources a -- b c", ["--sources", "a", "--", "b", "c"]),
        ("--sources", ["--sources"]),
    ],
)
def test_an_option_takes_several_values_however_they_are_written(
    written: str, read: list[str]
) -> None:
    assert repeated(written.split(), "--sources") == read


def test_commas_divide_names_but_not_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert listed(["speech,flute", "a, b"]) == ["speech", "flute", "a", "b"]
    assert listed(["", ",", "speech,"]) == ["speech"]
    Path("runs,old").mkdir()
    assert listed(["runs,old", "speech"]) == ["runs,old", "speech"]
