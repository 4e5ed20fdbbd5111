"""HHA computed from depth: against the authors' MATLAB output, and on scenes whose geometry is known."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from helpers.pairs import room_mm

from ktb.config import InputConfig
from ktb.inputs import (
    AUTO,
    EventStream,
    InputError,
    Intrinsics,
    RawX,
    XOptions,
    fill_holes,
    read_x,
)
from ktb.inputs.alignment.cameras import assumed_camera
from ktb.inputs.encoders.depth import read_depth_metres
from ktb.inputs.encoders.hha import encode, encode_hha

RNG = np.random.default_rng(0)
NAN = float("nan")
HHA = InputConfig(modality="hha", encoding="hha")
NYU = Intrinsics()
FLOOR, WALL, CEILING = 38, 38 + 90, 38 + 180
"""Values of the angle channel."""


def room(
    tilt: float = 0, camera: Intrinsics = NYU, floor=1.5, ceiling=1.0, wall=4.0
) -> tuple[np.ndarray, ...]:
    """Depth in metres (H, W) of an empty room seen by a camera that looks `tilt` degrees down, and which
    surface (H, W) each pixel shows (FLOOR, WALL, CEILING). Distances are from the camera, in metres."""
    height, width = camera.size_hw
    v, u = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    down, ahead = c * y + s, c - s * y  # of a ray (x, y, 1), in the room's directions
    with np.errstate(divide="ignore"):
        below = np.where(down > 0, floor / down, np.inf)
        above = np.where(down < 0, -ceiling / down, np.inf)
        front = np.where(ahead > 0, wall / ahead, np.inf)
        side = np.where(x != 0, wall / np.abs(x), np.inf)
    depth = np.stack([below, above, np.minimum(front, side)])
    surface = np.array([FLOOR, CEILING, WALL])[depth.argmin(axis=0)]
    return depth.min(axis=0), surface


def away_from_edges(surface: np.ndarray, border: int = 5) -> np.ndarray:
    """Where a window sees one surface alone."""
    kernel = np.ones((2 * border + 1,) * 2)
    same = cv2.erode(surface.astype(np.float32), kernel) == cv2.dilate(surface.astype(np.float32), kernel)
    inside = np.zeros_like(same)
    inside[border:-border, border:-border] = True
    return same & inside


# Against MATLAB


def test_equal_to_the_authors_matlab_output(shared):
    folder = shared / "data" / "hha"
    matlab = read_x(folder / "matlab_hha.png").data
    depth = read_x(folder / "depth.png")
    computed = encode_hha(read_depth_metres(depth.data).metres)
    assert computed.dtype == np.uint8
    assert computed.shape == matlab.shape == (480, 640, 3)
    assert np.array_equal(computed, matlab), f"{(computed != matlab).any(-1).sum()} of 307,200 pixels differ"
    assert np.array_equal(np.rint(encode(depth, HHA, AUTO).image * 255), matlab)


def test_raw_depth_with_holes_comes_near_the_in_filled_one(shared):
    """The raw frame's measured pixels are 3 mm off the in-filled ones in the mean, 24 % are holes."""
    folder = shared / "data" / "hha"
    matlab = read_x(folder / "matlab_hha.png").data.astype(int)
    metres = read_depth_metres(read_x(folder / "depth_raw.png").data).metres
    difference = np.abs(encode_hha(metres) - matlab)
    hole = np.isnan(metres)
    disparity, height, angle = difference[~hole].mean(axis=0)
    assert disparity < 0.2
    assert height < 3
    assert angle < 2.5
    in_holes = difference[hole].mean(axis=0)
    assert (in_holes < (4, 4, 25)).all()
    copied = np.where(hole[..., None], NAN, encode_hha(metres)).astype(np.float32)
    assert in_holes[2] < 0.7 * np.abs(fill_holes(copied) - matlab)[hole].mean(axis=0)[2], (
        "better than copying"
    )


def test_480_x_640_takes_less_than_a_second():
    metres = room(20)[0] + RNG.normal(0, 0.005, NYU.size_hw)
    metres[RNG.random(metres.shape) < 0.1] = NAN
    best = 9.0
    for _ in range(3):
        start = time.process_time()
        encode_hha(metres)
        best = min(best, time.process_time() - start)
    assert best < 1


# Known geometry


@pytest.mark.parametrize("tilt", [0, 12, 25, -10])
def test_angles_heights_and_disparity_of_a_room(tilt):
    depth, surface = room(tilt)
    inside = away_from_edges(surface)
    assert WALL in surface
    assert FLOOR in surface or CEILING in surface
    disparity, height, angle = np.moveaxis(encode_hha(depth).astype(int), -1, 0)
    assert np.abs(angle - surface)[inside].max() <= 1
    assert (height[inside & (surface == FLOOR)] <= 1).all()
    ceiling = height[inside & (surface == CEILING)]
    if FLOOR in surface:
        assert np.abs(ceiling - 250).max(initial=0) <= 1
    else:  # heights count from the wall's lowest visible point
        assert 100 < ceiling.min() <= ceiling.max() <= ceiling.min() + 1 < 250
    assert np.abs(disparity - np.minimum(31_000 / np.maximum(100 * depth, 100), 255)).max() <= 0.51


def test_low_cameras_and_rooms_without_floor_are_taken_130_cm_high():
    """As published: a lowest point within 90 cm of the camera's height is no floor."""
    depth, surface = room(0, floor=0.6)
    height = encode_hha(depth)[..., 1]
    assert (height[surface == FLOOR] == 130 - 60).all()
    deep, surface = room(0, floor=1.0)
    assert (encode_hha(deep)[..., 1][surface == FLOOR] == 0).all()


def test_a_crop_with_a_moved_principal_point_is_the_same_scene():
    """Pixel centres are counted from 0: the corner (40, 60) becomes (0, 0)."""
    depth, surface = room(15)
    camera = Intrinsics(NYU.fx, NYU.fy, NYU.cx - 60, NYU.cy - 40, (420, 560))
    inside = away_from_edges(surface)[40:460, 60:620]
    whole, crop = encode_hha(depth)[40:460, 60:620], encode_hha(depth[40:460, 60:620], camera)
    assert np.abs(whole.astype(int) - crop)[inside].max() <= 1


@pytest.mark.parametrize("size", [(240, 320), (960, 1280), (180, 320), (32, 48)])
def test_the_camera_fits_the_depth_images_size(size):
    camera = assumed_camera(size)
    assert camera.fx / camera.fy == pytest.approx(NYU.fx / NYU.fy), "square pixels"
    assert (camera.cx + 0.5) / size[1] == pytest.approx((NYU.cx + 0.5) / 640)
    depth, surface = room(18, camera)
    angle = encode_hha(depth)[..., 2].astype(int)
    assert np.abs(angle - surface)[away_from_edges(surface)].max() <= 1
    assert np.array_equal(encode_hha(depth), encode_hha(depth, camera))
    assert np.array_equal(encode_hha(depth), encode_hha(depth, camera.scaled((720, 720))))


def test_the_field_of_view_matters():
    camera = Intrinsics.from_field_of_view(100, (240, 320))
    depth, surface = room(20, camera)
    inside = away_from_edges(surface)
    right, wrong = (np.abs(encode_hha(depth, c)[..., 2].astype(int) - surface) for c in (camera, NYU))
    assert right[inside].max() <= 2
    assert wrong[inside].mean() > 5


def test_holes_are_left_out_of_normals_and_filled_from_near_depth():
    depth, surface = room(20)
    holed = depth.copy()
    holed[RNG.random(depth.shape) < 0.3] = NAN
    holed[100:120, 300:330] = NAN
    inside = away_from_edges(surface)
    hole = np.isnan(holed)
    whole, found = encode_hha(depth).astype(int), encode_hha(holed).astype(int)
    assert np.abs(found - whole)[inside & ~hole].max() <= 1
    assert np.array_equal(found[110, 315], np.clip(found[110, 315], 1, 254)), "a hole has values"
    assert np.abs(found - whole)[hole].mean(axis=0)[0] < 1


def test_stray_points_below_the_floor_do_not_lift_the_room():
    depth, surface = room(15)
    floor = surface == FLOOR
    strays = depth.copy()
    strays[470, 100:140] *= 8
    assert (np.argwhere(floor & (strays != depth)).size) > 0
    clean, found = encode_hha(depth), encode(RawX(strays), HHA, XOptions(unit="m"))
    wall = away_from_edges(surface, 15) & (surface == WALL)
    assert np.abs(clean[..., 1][wall].astype(int) - np.rint(found.image[..., 1][wall] * 255)).max() <= 5
    assert any("Stray points" in note for note in found.notes)
    assert not any("Stray" in note for note in encode(RawX(depth), HHA, XOptions(unit="m")).notes)


def _line(index) -> np.ndarray:
    metres = np.full((40, 50), NAN)
    metres[index] = 2
    return metres


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("view", [None, 1, 60, 170])
@pytest.mark.parametrize(
    "metres",
    [
        np.full((32, 32), 2.0),
        np.full((64, 64), 100.0),
        np.full((64, 64), 1e9),
        np.full((64, 64), 1e-30),
        np.full((32, 2000), 3.0),
        RNG.random((64, 64)) * 100 + 0.01,
        _line((3, 4)),
        _line(3),
        _line((slice(None), 3)),
        _line((range(40), range(40))),
    ],
    ids=["small", "100 m", "a million km", "none", "wide", "noise", "point", "row", "column", "diagonal"],
)
def test_degenerate_scenes(metres, view):
    camera = None if view is None else Intrinsics.from_field_of_view(view, metres.shape)
    hha = encode_hha(metres.astype(np.float32), camera)
    assert hha.shape == (*metres.shape, 3)
    if metres[0, 0] == metres[-1, -1]:
        assert (hha[..., 2] == WALL).all(), "one flat wall, upright"
    if np.isnan(metres).any():
        assert (hha[~np.isnan(metres)][:, 2] == CEILING).all(), "no plane through a line: 180 degrees"


def test_nothing_measured_is_refused():
    with pytest.raises(InputError, match="only holes"):
        encode_hha(np.full((40, 40), NAN))


# The encoder


def test_an_hha_picture_is_taken_as_it_is():
    picture = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    found = encode(RawX(picture), HHA, AUTO)
    assert np.array_equal(found.display, picture)
    assert np.allclose(found.image, picture / 255)
    assert (found.depth, found.notes) == (None, ())
    assert found.facts["HHA"] == "a picture, taken as it is"
    with_alpha = np.dstack([picture, picture[..., 0]])
    assert np.array_equal(encode(RawX(with_alpha), HHA, AUTO).display, picture)


def test_three_equal_channels_are_doubted_until_a_unit_is_chosen():
    grey = np.stack([(room_mm() / 1000 * 25.5).astype(np.uint8)] * 3, -1)
    found = encode(RawX(grey), HHA, AUTO)
    assert np.allclose(found.image, grey / 255)
    assert any("three channels of this HHA picture are equal" in note for note in found.notes)
    chosen = encode(RawX(grey), HHA, XOptions(unit="8-bit near dark (255 = 10 m)"))
    assert chosen.facts["HHA"].startswith("computed from depth")
    assert not any("equal" in note for note in chosen.notes)


@pytest.mark.parametrize(
    "raw",
    [
        RawX(room_mm()),
        RawX(room_mm() / 1000),
        RawX((room_mm() / 1000 * 25.5).astype(np.uint8)),
        RawX(np.stack([room_mm()] * 3, -1)),
        RawX(np.stack([room_mm() / 1000] * 3, -1), origin="estimated"),
    ],
    ids=["16 bits", "metres", "8 bits", "three channels of 16 bits", "estimated"],
)
def test_depth_is_computed(raw):
    found = encode(raw, HHA, AUTO)
    assert found.image.shape == found.display.shape == (60, 80, 3)
    assert found.display.dtype == np.uint8
    assert np.array_equal(np.rint(found.image * 255), encode_hha(found.depth.metres))
    assert found.depth.median == pytest.approx(2.9, abs=0.1)
    assert found.histogram.unit == "m"
    assert found.summary.startswith("HHA computed from depth, ")


def test_the_camera_is_named_and_an_assumed_one_is_said():
    assumed = encode(RawX(room_mm()), HHA, AUTO)
    assert assumed.facts["camera"].endswith("pixels (ASSUMED: NYU's)")
    assert assumed.facts["camera"].startswith("fx 64.9, fy 64.9, cx 40.1, cy 31.2")
    assert any("NYU's camera, for a picture of this size, was ASSUMED" in note for note in assumed.notes)
    for options in (XOptions(intrinsics=(70, 70, 39.5, 29.5)), XOptions(field_of_view=90)):
        known = encode(RawX(room_mm()), HHA, options)
        assert "ASSUMED" not in known.facts["camera"] + "".join(known.notes)
        assert not np.array_equal(known.image, assumed.image)
    assert "fx 70.0, fy 70.0, cx 39.5, cy 29.5" in encode(
        RawX(room_mm()), HHA, XOptions(intrinsics=(70, 70, 39.5, 29.5))
    ).facts["camera"]  # fmt: skip


def test_holes_are_grey_on_display_and_filled_for_the_network():
    raw = room_mm()
    raw[10:20, 10:30] = 0
    found = encode(RawX(raw), HHA, AUTO)
    assert (found.display[10:20, 10:30] == 128).all()
    assert np.isfinite(found.image).all()
    assert np.isnan(found.depth.metres).sum() == 200
    assert found.facts["holes"] == "4.2 %"


def test_a_tilt_that_cannot_be_is_said():
    """A wall corrugated almost along x has no normals along its furrows: gravity seems to lie there."""
    v, u = np.mgrid[0:240, 0:320]
    turn = np.radians(10)
    metres = 2 + 0.01 * np.sin((v * np.cos(turn) + u * np.sin(turn)) / 8)
    found = encode(RawX(metres), HHA, AUTO)
    assert any("degrees away from the image's downward direction" in note for note in found.notes)
    upright = encode(RawX(room(25)[0]), HHA, AUTO)
    assert not any("downward direction" in note for note in upright.notes)
    assert float(upright.facts["tilt"].split()[2]) == pytest.approx(25, abs=0.2)


def test_what_is_no_depth_is_refused():
    events = EventStream(*(np.zeros(3, np.int64) for _ in range(4)), (40, 40))
    with pytest.raises(InputError, match=r"e\.npz: this is an event stream, not HHA"):
        encode(RawX(events, kind="events", name="e.npz"), HHA, AUTO)
    with pytest.raises(InputError, match=r"d\.png: the depth map has no measurement"):
        encode(RawX(np.zeros((40, 40), np.uint16), name="d.png"), HHA, AUTO)


@pytest.mark.parametrize("name", ["kinect1_depth_mm", "kinect2_depth_mm", "realsense1_depth_u16"])
def test_real_depth_with_holes(shared, name):
    found = encode(read_x(shared / "data" / "qualitative" / "depth" / f"{name}.png"), HHA, AUTO)
    angle, height = found.image[..., 2] * 255, found.image[..., 1] * 255
    assert float(found.facts["tilt"].split()[2]) < 20
    bottom = angle[-60:]
    assert np.mean(bottom < FLOOR + 40) > 0.2, "a floor in front"
    assert np.median(height[-60:]) < 80 < np.median(height[:60])
    assert any("Stray" in note for note in found.notes) == (name == "realsense1_depth_u16")
