"""Several data sets as one."""
import hashlib
import shutil
from pathlib import Path

import pytest

from src.data.samples import MattingDataset
from src.data.sources import Source, as_sources, half_of, pairs_by_set, parse_source, with_split


def test_a_folder_may_have_a_weight_and_an_equals_sign_in_its_name(tmp_path):
    (tmp_path / "a=b").mkdir()
    assert parse_source(f"{tmp_path}/a=b") == (tmp_path / "a=b", 1.0)
    assert parse_source(f"{tmp_path}/a=b=0.5") == (tmp_path / "a=b", 0.5)
    assert parse_source("x=2") == (Path("x"), 2.0) and parse_source("x") == (Path("x"), 1.0)
    for text in ("x=nan", "x=inf", "x=-1", "x=0", "x=", "=2", "x=1_0", "x=\u0665"):
        with pytest.raises(ValueError, match="allowed is FOLDER=WEIGHT"):
            parse_source(text)


def test_a_folder_given_twice_is_refused(tmp_path):
    assert as_sources(tmp_path) == [Source(tmp_path)]
    with pytest.raises(ValueError, match="is given twice"):
        as_sources([Source(tmp_path), Source(tmp_path / "x" / "..")])


def test_halves_follow_the_hash_of_the_stem_whatever_else_is_there():
    stems = [f"picture {number}" for number in range(400)]
    halves = [half_of(stem) for stem in stems]
    assert halves == ["choose" if hashlib.sha256(stem.encode()).hexdigest()[0] in "01234567" else "report" for stem in stems]
    assert 150 < halves.count("choose") < 250


def test_samples_of_several_sets_follow_one_another(discs, tmp_path):
    shutil.copytree(discs / "val", tmp_path / "small/train")
    dataset = MattingDataset([Source(discs, 2.0), Source(tmp_path / "small")], size=64,
                             semantic_only_dir=[Source(tmp_path / "small", 0.5)], unlabeled_dir=discs / "val/fg")
    assert dataset.parts == [(5, 2.0), (2, 1.0), (2, 0.5), (2, 1.0)] and len(dataset) == 11
    assert [dataset[i]["semantic_only"] for i in range(11)] == [False] * 7 + [True] * 2 + [False] * 2
    assert with_split([Source(discs), Source(tmp_path / "small")]) == [Source(discs)]
    assert {name: len(pairs) for name, pairs in pairs_by_set([Source(discs)], "train", limit=3).items()} == {"discs": 3}
