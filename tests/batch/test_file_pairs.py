"""Finding files by a folder, a glob or a pattern, and pairing them by name (messages of a custom dataset:
there).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ktb.datasets.pairing import FilePair, match, scan


@pytest.fixture
def root(tmp_path):
    for name in (
        "photos/1.jpg",
        "photos/sub/1.png",
        "photos/2.JPG",
        "photos/.hidden.png",
        "photos/notes.md",
        "depth/1.png",
        "depth/sub/1.npy",
        "depth/3.tiff",
        "mixed/a_rgb.png",
        "mixed/a_ir.png",
        "mixed/b/c_rgb.png",
        "mixed/b/c_ir.png",
        "twice/1.png",
        "twice/1.jpg",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("photos", {"1": "photos/1.jpg", "2": "photos/2.JPG", "sub/1": "photos/sub/1.png"}),
        ("photos/*.jpg", {"1": "photos/1.jpg"}),
        ("photos/**/*.png", {"1": "photos/sub/1.png"}),
        ("mixed/{name}_rgb.*", {"a": "mixed/a_rgb.png", "b/c": "mixed/b/c_rgb.png"}),
        ("mixed/?_ir.png", {"a_ir": "mixed/a_ir.png"}),
    ],
)
def test_places_and_names(root, place, found):
    assert scan(root, place) == {name: root / file for name, file in found.items()}
    assert scan(Path("elsewhere"), str(root / place)) == scan(root, place)


def test_folders_can_be_left_out_and_suffixes_chosen(root):
    assert list(scan(root, "photos", without=[root / "photos" / "sub"])) == ["1", "2"]
    assert list(scan(root, "depth", suffixes=(".npy",))) == ["sub/1"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("phots", r"the folder .*phots does not exist. Did you mean 'photos'\?"),
        ("photos/*.webp", r"'photos/\*.webp' finds no picture or array .* in .*photos"),
        ("twice", r"are both '1'; tell them apart by a pattern with \{name\}"),
    ],
)
def test_places_that_are_refused(root, place, message):
    with pytest.raises(ValueError, match=message):
        scan(root, place)


def test_pairs_and_what_is_left_out(root):
    matched = match("photos", ["depth"], root=root)
    assert matched.pairs == (
        FilePair("1", root / "photos/1.jpg", (root / "depth/1.png",)),
        FilePair("sub/1", root / "photos/sub/1.png", (root / "depth/sub/1.npy",)),
    )
    assert matched.lacking == {"photos": ("3",), "depth": ("2",)}
    assert matched.pairs[0].files == (root / "photos/1.jpg", root / "depth/1.png")


def test_rgb_images_alone_x_alone_and_several_x_files(root):
    alone = match("photos", root=root)
    assert [pair.x for pair in alone.pairs] == [(), (), ()]
    assert alone.lacking == {}
    only_x = match(None, ["depth"], root=root)
    assert [(pair.name, pair.rgb) for pair in only_x.pairs] == [("1", None), ("3", None), ("sub/1", None)]
    several = match(None, ["mixed/{name}_rgb.png", "mixed/{name}_ir.png"], root=root)
    assert several.pairs[1].x == (root / "mixed/b/c_rgb.png", root / "mixed/b/c_ir.png")


def test_nothing_in_common_and_one_place_for_both(root):
    with pytest.raises(ValueError, match=r"no name has a file for every pattern .*'mixed/\*_rgb.png': a_rgb"):
        match("mixed/*_rgb.png", ["mixed/*_ir.png"], root=root)
    with pytest.raises(ValueError, match="both looked for in 'mixed'"):
        match("mixed", ["mixed"], root=root)
