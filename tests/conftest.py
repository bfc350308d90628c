"""What tests share: the command line in this process, workspaces, the real logs where they are."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# No deadline: how long an example takes is the machine's affair, and the first one may compile kernels.
hypothesis.settings.register_profile("footfall", deadline=None)
hypothesis.settings.load_profile("footfall")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files stay on one worker, and so does all of acquire: in a fresh clone two would compile the same kernels."""
    from xdist.scheduler import LoadFileScheduling

    class ByKernels(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "tests/acquire" if file.startswith("tests/acquire/") else file

    return ByKernels(config, log) if config.getvalue("dist") == "loadfile" else None


@dataclass(frozen=True)
class Result:
    """What a command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Result]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run ``footfall ...`` in this process; an unexpected exception fails the test instead of being reported."""
    from footfall.app.main import main

    def run(*arguments: object, workspace: Path | None = None) -> Result:
        if workspace is not None:
            monkeypatch.setenv("FOOTFALL_WORKSPACE", str(workspace))
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert status != 70, err
        return Result(status, out, err)

    return run


@pytest.fixture
def shop(tmp_path: Path, cli: Cli) -> Path:
    """An empty workspace."""
    assert cli("init", tmp_path / "shop").status == 0
    return tmp_path / "shop"


@pytest.fixture
def real() -> Callable[[str], Path]:
    """A folder of real data, or a skip with the reason."""

    def folder(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"the real log {name} is not on this machine")
        return DATA / name

    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server: FOOTFALL_TEST_POSTGRES, else one that the tests start and stop themselves."""
    given = os.environ.get("FOOTFALL_TEST_POSTGRES")
    if given:
        yield given
        return
    from postgres_server import running

    with running() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """An empty database of this test's own."""
    from postgres_server import new_database

    return new_database(postgres_server, f"t{uuid.uuid4().hex}")


@pytest.fixture
def postgres_schema(postgres_server: str) -> str:
    """An empty schema of this test's own: as good as a database to what keeps tables in it, and there at once."""
    from postgres_server import new_schema

    return new_schema(postgres_server, f"t{uuid.uuid4().hex}")


@pytest.fixture
def postgres_wire(postgres_url: str) -> Iterator[Any]:
    """The way to an empty database of this test's own, which can be cut (``postgres_server.Wire``)."""
    from postgres_server import Wire

    wire = Wire(postgres_url)
    yield wire
    wire.away()
