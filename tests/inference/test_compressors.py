"""Bits per byte against the compressors called by hand."""

import bz2
import lzma
import zlib

import pytest

from lmmodel.inference import compressors

BEFORE = b"The quick brown fox jumps over the lazy dog, again and again. " * 300
TEXT = "The quick brown fox reads over the lazy dog's shoulder: öäü€. ".encode() * 20

BY_HAND = {
    "zlib": lambda data: zlib.compress(data, 9),
    "bz2": lambda data: bz2.compress(data, 9),
    "lzma": lambda data: lzma.compress(data, preset=9),
}


def test_alone_and_given_the_training_text_as_by_hand():
    found = compressors.measure(TEXT, BEFORE)
    assert list(found) == list(BY_HAND)
    for name, press in BY_HAND.items():
        assert found[name].alone == 8 * len(press(TEXT)) / len(TEXT)
        assert found[name].given_training == 8 * (len(press(BEFORE + TEXT)) - len(press(BEFORE))) / len(TEXT)
        assert found[name].given_training < found[name].alone


def test_noise_costs_its_eight_bits():
    import random

    noise = random.Random(1).randbytes(100_000)
    assert all(bits.alone == pytest.approx(8, abs=0.1) for bits in compressors.measure(noise, BEFORE).values())


def test_documents_are_joined_by_a_blank_line():
    assert compressors.join(["a", "é"]) == "a\n\né".encode()


def test_of_much_training_text_the_end_is_kept(monkeypatch):
    monkeypatch.setattr(compressors, "TRAINING_BYTES", 10)
    assert compressors.join_last(["a" * 7] * 9 + ["the end"]) == b"\nthe end\n\n"[-10:]
    assert compressors.join_last(["few"]) == b"few\n\n"
    assert len(compressors.join_last(f"{n}" for n in range(1000))) == 10
