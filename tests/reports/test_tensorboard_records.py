"""Records as TensorBoard's own package writes them."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.reports.tensorboard_records import crc32c, frame


@pytest.mark.parametrize(
    ("content", "checksum"),
    [  # RFC 3720, B.4, and the check value of the catalogue of CRCs
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
    ids=repr,
)
def test_checksums_that_are_known(content, checksum):
    assert crc32c(content) == checksum


@given(st.binary(max_size=20), st.sampled_from([0, 1, 3, 4, 5, 250, 251, 252, 253, 256, 257, 512, 5000]))
def test_a_record_is_that_of_the_package(start, length):
    records = pytest.importorskip("tensorboard.summary.writer.record_writer")
    content = start + np.random.default_rng(length).bytes(length)
    stream = io.BytesIO()
    records.RecordWriter(stream).write(content)
    assert frame(content) == stream.getvalue()
