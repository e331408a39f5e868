"""`run.json` on disk: always whole, whatever ends the process that writes it."""

import os
from pathlib import Path

from wpsload.errors import ConfigError, WpsloadError
from wpsload.record import Record, from_json

__all__ = ["NAME", "RecordFile", "read_record", "write_whole"]

NAME = "run.json"


class RecordFile:
    """The record of one run, in a folder that exists."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def check(self) -> None:
        """Find out before the load whether the folder can be written.

        Raises:
            ConfigError: if not.
        """
        try:
            self._unfinished.write_bytes(b"")
            self._unfinished.unlink()
        except OSError as error:
            raise ConfigError(
                f"cannot write {self.path}: {error.strerror}",
                hint="choose a folder with --wps-reports, or none with --wps-no-record",
            ) from error

    def write(self, data: bytes) -> None:
        """Put `data` into the place of what was there, whole or not at all.

        Raises:
            WpsloadError: if it cannot be written, as on a full disk; what was there stays.
        """
        write_whole(self.path, data)

    @property
    def _unfinished(self) -> Path:
        return _unfinished(self.path)


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` into the place of what was there, whole or not at all.

    Raises:
        WpsloadError: if it cannot be written, as on a full disk; what was there stays.
    """
    unfinished = _unfinished(path)
    try:
        try:
            with unfinished.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WpsloadError(f"cannot write {path}: {error.strerror}") from error


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def read_record(path: Path) -> Record:
    """The record in a file, or in the `run.json` of a folder.

    Raises:
        ConfigError: if it cannot be read, or is none.
    """
    file = path / NAME if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {file}: {error.strerror}",
            hint="name a run.json, or the folder that it is in",
        ) from error
    return from_json(data, source=str(file))
