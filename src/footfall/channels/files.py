"""One JSON file a letter in a folder: for printing, for other programs, for ways that Footfall does not know."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from footfall.model import Letter, Receipt


class FileChannel:
    """``ports.Channel`` into a folder; the name of a file is the message's, so a twin replaces itself."""

    idempotent = True

    def __init__(self, name: str, folder: Path) -> None:
        """folder: made when the first letter comes."""
        self.name = name
        self._folder = folder

    def send(self, letter: Letter) -> Receipt:
        """Write the letter, whole or not at all."""
        path = self._folder / f"{letter.message_id}.json"
        partial = path.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(letter), indent=2))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            return Receipt("retry", f"{path}: {error.strerror}")
        return Receipt("sent", str(path))

    def close(self) -> None:
        """Nothing is kept open."""
