from __future__ import annotations

from pathlib import Path

import pytest

from ppl_models.data.corpora import (
    AN4_VALIDATION,
    Utterance,
    an4,
    speech_folder,
    voicebank,
    wsj0,
)
from ppl_models.errors import InputError

REAL = Path(__file__).parents[4] / "shared" / "data"


def touch(root: Path, *names: str) -> None:
    """Make empty files: listing a corpus reads none of them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(utterances: list[Utterance]) -> list[str]:
    return [f"{u.speaker}/{u.name}" for u in utterances]


@pytest.mark.parametrize(
    ("train", "test", "suffix"),
    [("train", "test", "flac"), ("an4/wav/an4_clstk", "an4/wav/an4test_clstk", "sph")],
)
def test_an4_is_split_by_speaker(tmp_path: Path, train: str, test: str, suffix: str) -> None:
    for speaker in ("faaa", "maaa", *AN4_VALIDATION):
        touch(tmp_path, *(f"{train}/{speaker}/an{i}-{speaker}-b.{suffix}" for i in (2, 1)))
    touch(
        tmp_path, f"{test}/fcaw/cen1-fcaw-b.{suffix}", f"{test}/fcaw/.hidden.wav", f"{train}/x.txt"
    )
    corpus = an4(tmp_path if train != "train" else str(tmp_path))
    assert names(corpus.train)[:2] == ["faaa/an1-faaa-b", "faaa/an2-faaa-b"]
    assert {u.speaker for u in corpus.train} == {"faaa", "maaa"}
    assert {u.speaker for u in corpus.validation} == set(AN4_VALIDATION)
    assert names(corpus.test) == ["fcaw/cen1-fcaw-b"] and corpus.test[0].file.is_file()
    assert "4 train, 12 validation, 1 test utterances of 2, 6, 1 speakers" in str(corpus)
    assert "BSD" in corpus.licence and "cmu.edu" in corpus.source
    other = an4(tmp_path, validation=["maaa"])
    assert names(other.validation) == ["maaa/an1-maaa-b", "maaa/an2-maaa-b"]


def test_wsj0_has_parts_of_its_own(tmp_path: Path) -> None:
    touch(tmp_path, "si_tr_s/011/011a0101.wav", "si_dt_05/050/050a.wav", "si_et_05/440/440c.wav")
    corpus = wsj0(tmp_path)
    parts = corpus.train, corpus.validation, corpus.test
    assert [names(part) for part in parts] == [["011/011a0101"], ["050/050a"], ["440/440c"]]
    touch(tmp_path / "raw", "si_tr_s/011/011a0101.wv1")
    with pytest.raises(InputError, match="sph2pipe"):
        wsj0(tmp_path / "raw")


def test_voicebank_holds_p226_and_p287_out(tmp_path: Path) -> None:
    files = [f"clean_trainset_28spk_wav/{p}_001.wav" for p in ("p226", "p287", "p228")]
    touch(tmp_path, *files, "clean_testset_wav/p232_005.wav", "noisy_testset_wav/p232_005.wav")
    corpus = voicebank(tmp_path)
    assert names(corpus.train) == ["p228/p228_001"]
    assert names(corpus.validation) == ["p226/p226_001", "p287/p287_001"]
    assert names(corpus.test) == ["p232/p232_005"]


def test_a_share_of_a_folder_is_the_same_whatever_order_it_is_listed_in(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{speaker}/{i}.wav" for speaker in "ab" for i in range(10)), "a/notes.txt")
    corpus = speech_folder(tmp_path, validation=0.25, test=0.2)
    sizes = [len(part) for part in (corpus.train, corpus.validation, corpus.test)]
    assert sizes == [12, 4, 4]  # a fifth of 20, and a quarter of the 16 that are left
    parts = [set(part) for part in (corpus.train, corpus.validation, corpus.test)]
    assert len(set.union(*parts)) == 20
    moved = tmp_path / "elsewhere"
    touch(moved, *(f"{speaker}/{i}.wav" for speaker in "ba" for i in reversed(range(10))))
    assert names(speech_folder(moved, test=0.2).test) == names(corpus.test)
    only = speech_folder(tmp_path, "b/*.wav", validation=0.0, test=0.0)
    assert {u.speaker for u in only.train} == {"b"} and not only.test


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder(.*\n)*.*databases/an4"):
        an4(tmp_path / "none")
    with pytest.raises(InputError, match="si_tr_s/<speaker>"):
        wsj0(tmp_path)
    with pytest.raises(InputError, match="another path or pattern"):
        speech_folder(tmp_path, "*.wav")
    touch(tmp_path, "ann/1.wav", "bob/1.wav")
    with pytest.raises(InputError, match="test: saw eve\n.*ann, bob"):
        speech_folder(tmp_path, test=["eve"])
    with pytest.raises(InputError, match="validation: saw 1 of 1"):
        speech_folder(tmp_path, test=["ann"], validation=["bob"])


@pytest.mark.skipif(not (REAL / "an4").is_dir(), reason="AN4 is not there (../shared/data/an4)")
def test_an4_is_all_there() -> None:
    corpus = an4(REAL / "an4")
    assert str(corpus).startswith("an4: 870 train, 78 validation, 65 test utterances of 68, 6, 5")
    assert len(corpus.train) + len(corpus.validation) == corpus.published[0]
    assert sorted({u.speaker[0] for u in corpus.validation}) == ["f", "m"]
