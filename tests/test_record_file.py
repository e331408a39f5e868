"""The file of a record is whole at any moment, or was never there."""

import os
import signal
import stat
from pathlib import Path

import pytest
from recording import record_of, steady_run

from wpsload.errors import ConfigError, WpsloadError
from wpsload.record import to_json
from wpsload.record_file import RecordFile, read_record


def test_it_is_read_by_file_or_folder(tmp_path: Path) -> None:
    """Whichever somebody names."""
    record = record_of(steady_run())
    file = RecordFile(tmp_path)
    file.check()
    file.write(to_json(record))
    assert read_record(tmp_path) == read_record(tmp_path / "run.json") == record
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    """A full disk costs the news and not the record."""
    resource = pytest.importorskip("resource")
    file = RecordFile(tmp_path)
    file.write(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(WpsloadError, match=r"cannot write .*run\.json"):
            file.write(b"new" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "run.json").read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_found_at_once(tmp_path: Path) -> None:
    """Before the load, with what to do."""
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ConfigError, match="cannot write"):
        RecordFile(tmp_path).check()


def test_what_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    """A line, and no traceback."""
    with pytest.raises(ConfigError, match="cannot read"):
        read_record(tmp_path)
