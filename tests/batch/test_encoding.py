"""Encodings of result videos: the codec is chosen by what the computer has, and said."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.videos import pair, read_video, write_video

from ktb.video import encoding
from ktb.video.encoding import NO_H264, VideoFile, choose_encoding

FRAMES = [pair(i, 96, 128)[0] for i in range(5)]
LISTED = """Encoders:
 V..... = Video
 ------
 V....D h264_nvenc           NVIDIA NVENC H.264 encoder (codec h264)
 V....D libopenh264          OpenH264 (codec h264)
 A....D aac                  AAC (codec aac)
"""


@pytest.fixture
def no_opencv(monkeypatch):
    monkeypatch.setattr(encoding, "_opencv_has_h264", lambda: False)


def fake_ffmpeg(folder: Path, monkeypatch, body: str) -> Path:
    """An executable `ffmpeg`, the only one on the PATH, that lists encoders: a Python script."""
    (folder / "encoders.txt").write_text(LISTED)
    lists = f"sys.exit(Path({str(folder / 'encoders.txt')!r}).read_text())"
    script = folder / "ffmpeg"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n"
        f"sys.stderr = sys.stdout if '-encoders' in sys.argv else sys.stderr\n"
        f"if '-encoders' in sys.argv: {lists}\n{body}"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return script


def test_without_ffmpeg_mp4_is_mpeg_4_and_a_note_says_so(tmp_path, monkeypatch, no_opencv):
    monkeypatch.setenv("PATH", str(tmp_path))
    chosen = choose_encoding("mp4")
    assert (chosen.codec, chosen.note) == ("MPEG-4 part 2", NO_H264)
    assert "install ffmpeg" in chosen.note
    assert len(read_video(write_video(tmp_path / "a.mp4", FRAMES))[0]) == 5
    assert (choose_encoding("webm").codec, choose_encoding("webm").note) == ("VP8", "")


def test_an_ffmpeg_whose_encoders_do_not_work_is_not_used(tmp_path, monkeypatch, no_opencv):
    fake_ffmpeg(tmp_path, monkeypatch, "sys.exit(1)")
    assert choose_encoding("mp4").codec == "MPEG-4 part 2"


def test_the_first_listed_encoder_that_works_is_taken(tmp_path, monkeypatch, no_opencv):
    script = fake_ffmpeg(
        tmp_path, monkeypatch, "sys.stdin.buffer.read()\nsys.exit('libopenh264' in sys.argv)"
    )
    assert choose_encoding("mp4").command == (str(script), "h264_nvenc")


def test_an_ffmpeg_that_fails_is_an_error_with_its_reason(tmp_path, monkeypatch, no_opencv):
    fails = """
if "null" in sys.argv:
    sys.exit(len(sys.stdin.buffer.read()) == 0)
sys.exit("first line\\nno space left")
"""
    fake_ffmpeg(tmp_path, monkeypatch, fails)
    video = VideoFile(tmp_path / "a.mp4", 10)
    large = np.zeros((512, 512, 3), np.uint8)  # more than a pipe holds
    with pytest.raises(OSError, match=r"a\.mp4 cannot be written: ffmpeg says: no space left"):
        video.write(large)
    video.close()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: apt-get install ffmpeg")
def test_ffmpeg_writes_h264_that_holds_the_frames(tmp_path, capfd, monkeypatch, no_opencv):
    command = choose_encoding("mp4").command
    if not command:
        pytest.skip("this ffmpeg has no H.264 encoder that works here")
    monkeypatch.setattr(encoding, "_ffmpeg_with_h264", lambda: command)
    path = write_video(tmp_path / "-a b%d.mp4", FRAMES)
    assert capfd.readouterr().err == ""
    data = path.read_bytes()
    assert b"avc1" in data
    assert data.index(b"moov") < data.index(b"mdat")  # it starts before all of it is loaded
    decode = ["ffmpeg", "-v", "error", "-i", f"file:{path}", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(decode, stdout=subprocess.PIPE, check=True).stdout
    for decoded in (np.frombuffer(raw, np.uint8).reshape(-1, 96, 128, 3), read_video(path)[0]):
        assert len(decoded) == len(FRAMES)
        for found, wanted in zip(decoded, FRAMES, strict=True):
            assert np.abs(found.astype(float) - wanted).mean() < 12
    color = np.full((96, 128, 3), (200, 40, 90), np.uint8)  # colours of classes stay
    (found, *_), fps = read_video(write_video(tmp_path / "color.mp4", [color] * 3, fps=7.5))
    assert np.abs(found.astype(float) - color).max() <= 4
    assert fps == pytest.approx(7.5)


def test_whether_opencv_has_h264_is_found_without_a_word_on_standard_error(capfd):
    encoding._opencv_has_h264.cache_clear()
    assert encoding._opencv_has_h264() in (True, False)
    assert capfd.readouterr().err == ""
