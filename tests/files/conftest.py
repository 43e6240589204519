"""A source of files, and files made from bytes."""

import pytest

from wsanalyze.files.local import LocalFiles, stat_file


@pytest.fixture
def source():
    with LocalFiles() as files:
        yield files


@pytest.fixture(scope="session")
def list_bytes(tmp_path_factory):
    """Write bytes to one and the same path and list it; for laws that are tried on many files."""
    path = tmp_path_factory.mktemp("bytes") / "file"

    def write(data):
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return stat_file(path)

    return write
