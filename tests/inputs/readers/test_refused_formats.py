"""Refusals name the format they met and the way out, whatever the file is called."""

import struct

import numpy as np
import pytest

from ktb import InputError, read_image_rgb, read_x
from ktb.inputs.readers.labels import read_label_picture

RNG = np.random.default_rng(0)
BYTES = RNG.bytes(4000)
TEMPERATURES = 20 + 5 * RNG.random((40, 160))


def table(mark: str, decimal: str = ".", copies: int = 1) -> bytes:
    rows = np.tile(TEMPERATURES, (1, copies))
    return "\r\n".join(mark.join(f"{v:.2f}".replace(".", decimal) for v in row) for row in rows).encode()


def tiff(values: np.ndarray, kind: int) -> bytes:
    """An uncompressed TIFF; kind is the sample format: 1 unsigned, 3 floats."""
    data, samples = values.tobytes(), values.shape[2] if values.ndim == 3 else 1
    tags = {256: values.shape[1], 257: values.shape[0], 258: 8 * values.itemsize, 259: 1, 262: 1, 273: 8}
    tags |= {277: samples, 278: values.shape[0], 279: len(data), 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(data))
        + data
        + struct.pack("<H", len(tags))
        + entries
        + b"\0\0\0\0"
    )


RAW = b"% date 2021-02-03\n% evt 3.0\n% format EVT3;height=720;width=1280\n% geometry 1280x720\n% end\n"
DAT = b"% Data file containing Event2D events.\n% Version 2\n% Height 720\n% Width 1280\n\x0c\x08"
PLY = b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nend_header\n0 0 0 1\n1 1 1 0\n"
REFUSED = {
    "a.raw": (RAW + BYTES, "Prophesee RAW recording .EVT 3.0.*metavision_file_to_hdf5"),
    "gen3.raw": (b"% integrator_name Prophesee\n% evt 2.0\n" + BYTES, "Prophesee RAW recording .EVT 2.0"),
    "a.dat": (DAT + BYTES, "Prophesee DAT recording.*metavision_file_to_csv"),
    "comma.csv": (table(","), "160 numbers on a line.*temperatures.*delimiter=','"),
    "tab.txt": (table("\t"), r"160 numbers on a line.*temperatures.*delimiter='\\t'"),
    "blank.txt": (table(" "), r"160 numbers on a line.*numpy.loadtxt\(FILE\)"),
    "flir.csv": (
        b"File:;a.jpg\r\nEmissivity:;0,95\r\n" + table(";", ",", 8),
        "1,280 numbers.*decimal points",
    ),
    "wide.csv": (table(";", ",").decode().encode("utf-16"), "160 numbers on a line.*decimal points"),
    "half.tif": (tiff(RNG.random((40, 50)).astype(np.float16), 3), "TIFF of half floats.*32 bits"),
    "five.tif": (tiff(RNG.integers(0, 9999, (40, 50, 5), dtype=np.uint16), 1), "TIFF of 5 bands"),
    "two.tif": (tiff(RNG.integers(0, 9999, (40, 50, 2), dtype=np.uint16), 1), "TIFF of 2 bands"),
    "a.bag": (b"#ROSBAG V2.0\n" + BYTES, "ROS bag; export its messages"),
    "a.db3": (b"SQLite format 3\0" + BYTES, "SQLite.*ROS 2"),
    "a.mcap": (b"\x89MCAP0\r\n" + BYTES, "MCAP recording.*export its messages"),
    "a.ply": (PLY, "point cloud or mesh .PLY.*project it into the camera"),
    "points.txt": (PLY, "point cloud or mesh .PLY"),
    "crlf.ply": (PLY.replace(b"\n", b"\r\n"), "point cloud or mesh .PLY"),
    "a.pcd": (b"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\n1 2 3\n", "point cloud .PCD"),
    "a.las": (b"LASF" + BYTES, "point cloud .LAS"),
    "a.aedat": (b"#!AER-DAT2.0\r\n" + BYTES, "AEDAT 2.*convert it to AEDAT 4"),
    "a.mat": (b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + BYTES, "MATLAB file; save the array as .npy"),
    "a.seq": (b"FFF\0" + BYTES, "FLIR recording.*export its temperatures"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_format_and_the_way_out_are_named(tmp_path, name):
    data, message = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}: this is an? .*{message}"):
        read_x(tmp_path / name)
    with pytest.raises(InputError, match=message):
        read_image_rgb(tmp_path / name)


def test_event_tables_are_still_read(tmp_path):
    rows = [f"{i / 1000} {i % 60} {i % 40} {i % 2}" for i in range(200)]
    for name, text in {
        "crlf.txt": "\r\n".join(rows),
        "commas.csv": "\n".join(rows).replace(" ", ","),
    }.items():
        (tmp_path / name).write_text(text, newline="")
        assert len(read_x(tmp_path / name).data) == 200


def test_labels_of_any_lossless_format(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5\n40 40\n255\n" + bytes([3]) * 1600)
    assert (read_label_picture(tmp_path / "a.pgm")[0] == 3).all()
