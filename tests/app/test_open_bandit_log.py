"""The real log of the demonstration, where it cannot be fetched."""

from __future__ import annotations

import sys
import venv
from pathlib import Path

import pytest

from footfall.app import open_bandit_log
from footfall.errors import WorkspaceError


def test_an_environment_without_pip_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv makes environments without pip; here Python's own venv does."""
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(WorkspaceError, match="No module named pip") as told:
        open_bandit_log.fetch(tmp_path, "random")
    assert f"{sys.executable} -m ensurepip" in told.value.way_out
    assert "network" not in told.value.way_out
