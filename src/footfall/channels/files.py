"""One JSON file a letter in a folder: for printing, for other programs, for ways that Footfall does not know."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

import msgspec

from footfall.errors import WorkspaceError
from footfall.model import Letter, Receipt

_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(json|part)")


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


def forget(workspace: Path, people: Collection[str]) -> int:
    """Erase the letters to these persons, named as in the log, from all folders of a workspace; how many.

    What a killed writer left half written goes, whoever it was for. WorkspaceError where a file cannot be erased.
    """
    gone, known = 0, frozenset(people)
    for folder, _, names in os.walk(workspace):
        for path in (Path(folder, name) for name in names if _NAME.fullmatch(name)):
            try:
                theirs = path.suffix == ".json" and _customer(path.read_bytes()) in known
                if theirs or path.suffix == ".part":
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise WorkspaceError(
                    f"the letter {path} cannot be erased: {error.strerror}", "check its permissions, then run it again"
                ) from error
            gone += theirs
    return gone


def _customer(text: bytes) -> str:
    """Whom a letter is for, as in the log; "" where it is none of ours."""
    try:
        letter = msgspec.json.decode(text, type=Letter)
        return str(msgspec.json.decode(letter.context, type=dict[str, object]).get("customer_id", ""))
    except msgspec.MsgspecError:
        return ""
