"""Speech Commands: samples exactly, the published lists, damaged files refused."""

import io
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile

from robustssm.errors import RejectedInputError, UsageError
from robustssm.tasks import load_task, speech_commands
from robustssm.tasks.reading import Source
from robustssm.tasks.speech_commands import COMMANDS, WORDS, _recording

RATE = 100
LENGTHS = {"a": 100, "b": 73, "c": 100}


def written(folder: Path) -> dict[str, Any]:
    """Write three recordings a word: a for training, b for validation, c for test."""
    rng = np.random.default_rng(8)
    made = {}
    for word in WORDS:
        (folder / word).mkdir()
        for name, length in LENGTHS.items():
            values = rng.integers(-(2**15), 2**15, length).astype(np.int16)
            wavfile.write(folder / word / f"{name}.wav", RATE, values)
            made[f"{word}/{name}.wav"] = values
    (folder / "_background_noise_").mkdir()
    for name, file in (("b", "validation_list.txt"), ("c", "testing_list.txt")):
        (folder / file).write_text("".join(f"{word}/{name}.wav\n" for word in WORDS))
    return made


@pytest.mark.parametrize(("classes", "words"), [(35, WORDS), (10, COMMANDS)])
def test_values(tmp_path: Path, classes: int, words: tuple[str, ...]) -> None:
    made = written(tmp_path)
    task = load_task(f"speech-commands:folder={tmp_path}:rate={RATE}:classes={classes}")
    assert (task.length, task.channels, task.classes, task.rate) == (RATE, 1, classes, RATE)
    names = sorted(made)
    for split, letter in (("train", "a"), ("validation", "b"), ("test", "c")):
        part = task.splits[split]
        assert len(part) == classes and part.lengths is not None
        for row in range(classes):
            name = names[part.sample_id[row]]
            assert name == f"{words[part.labels[row]]}/{letter}.wav"
            values = made[name] / np.float32(2**15)
            assert part.lengths[row] == len(values)
            np.testing.assert_array_equal(part.inputs[row, : len(values), 0], values)
            assert not part.inputs[row, len(values) :].any()
    assert load_task(task.spec).content_hash == task.content_hash


def test_half_the_rate_is_every_second_sample(tmp_path: Path) -> None:
    written(tmp_path)
    whole = speech_commands.speech_commands(tmp_path, rate=RATE)
    half = speech_commands.speech_commands(tmp_path, rate=RATE, half_rate=1)
    assert (half.length, half.rate) == (RATE // 2, RATE / 2)
    for name, part in half.splits.items():
        np.testing.assert_array_equal(part.inputs, whole.splits[name].inputs[:, ::2])
        lengths = whole.splits[name].lengths
        assert lengths is not None and part.lengths is not None
        np.testing.assert_array_equal(part.lengths, (lengths + 1) // 2)


def test_a_limit_opens_no_other_file(tmp_path: Path) -> None:
    written(tmp_path)
    for word in sorted(WORDS)[1:]:
        for name in LENGTHS:
            (tmp_path / word / f"{name}.wav").write_bytes(b"")
    task = speech_commands.speech_commands(tmp_path, rate=RATE, limit=1)
    assert [len(part) for part in task.splits.values()] == [1, 1, 1]


def encoded(rate: int = RATE, channels: int = 1, width: int = 2, frames: int = 10) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(bytes(channels * width * frames))
    return stream.getvalue()


def extensible(content: bytes, subformat: int = 1) -> bytes:
    """The same file as ffmpeg and sox write it: a format chunk of 40 bytes, a chunk before it."""
    size = (22, 16, 0, subformat)
    tail = struct.pack("<HHIH", *size) + bytes.fromhex("000000001000800000aa00389b71")
    form = b"\xfe\xff" + content[22:36] + tail
    chunks = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    chunks += b"fmt " + struct.pack("<I", len(form)) + form + content[36:]
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def test_an_extensible_header_is_read_by_every_python(tmp_path: Path) -> None:
    plain, other = tmp_path / "a.wav", tmp_path / "b.wav"
    plain.write_bytes(encoded())
    other.write_bytes(extensible(encoded()))
    found = [_recording(Source("speech-commands", path), RATE) for path in (plain, other)]
    assert len(found[0]) == 10 and np.array_equal(found[0], found[1])
    other.write_bytes(extensible(encoded(), subformat=3))  # floats
    with pytest.raises(RejectedInputError, match="is no whole WAV file"):
        _recording(Source("speech-commands", other), RATE)


def test_refusals(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(RejectedInputError, match=message) as caught:
            speech_commands.speech_commands(tmp_path, rate=RATE)
        assert "\n" not in str(caught.value)

    refused("lacks the folders bed, cat")
    written(tmp_path)
    path = tmp_path / "bird" / "a.wav"
    for bad, message in (
        (encoded(rate=8000), "has 8000 samples per second.*expected 100, 1, 16"),
        (encoded(channels=2), "2 channels"),
        (encoded(width=1), "8 bits"),
        (encoded(frames=0), "has no samples"),
        (encoded(frames=RATE + 1), "expected 1 to 100"),
        (b"", "no whole WAV"),
        (b"RIFF\0\0\0\0WAVX", "no whole WAV"),
    ):
        path.write_bytes(bad)
        refused(message)
    path.write_bytes(encoded())
    lists = tmp_path / "testing_list.txt"
    for text, message in (
        ("bird/none.wav\n", "lacks bird/none.wav"),
        ("birds\n", "line 1: expected word/file.wav"),
        ("bird/b.wav\n", "in both lists"),
        ("", "no test files"),
    ):
        lists.write_text(text)
        refused(message)
    lists.unlink()
    refused("lacks testing_list.txt")


def test_parameters() -> None:
    for setting, message in (
        ("classes=12", "classes is 12"),
        ("rate=7", "rate is 7"),
        ("half_rate=2", "half_rate is 2"),
    ):
        with pytest.raises(UsageError, match=message):
            load_task(f"speech-commands:folder=x:{setting}")


@settings(deadline=None)
@given(at=st.floats(0, 1, exclude_max=True))
def test_half_a_recording_is_refused(tmp_path_factory: pytest.TempPathFactory, at: float) -> None:
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    content = encoded(frames=40)
    path.write_bytes(content[: int(at * len(content))])
    with pytest.raises(RejectedInputError):
        speech_commands._recording(Source("speech-commands", path), RATE)
