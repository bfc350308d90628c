"""What the README says, done: its Python runs, its commands are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from footfall.app.main import COMMANDS

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block-{i}" for i in range(len(BLOCKS))])
def test_python_of_the_readme_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    expected = [line.split("# ", 1)[1].strip() for line in block.splitlines() if line.startswith("print(")]
    assert capsys.readouterr().out.split("\n")[:-1] == expected


def test_commands_of_the_readme_exist() -> None:
    named = set(re.findall(r"^\s+(?:\$ |\.venv/bin/)?footfall ([a-z]+)", README, re.MULTILINE))
    assert named
    assert named <= {command.name for command in COMMANDS}
    for command in COMMANDS:
        assert f"`{command.name}`" in README, f"the README's table has no `{command.name}`"


def test_there_are_blocks_to_run() -> None:
    assert len(BLOCKS) == 2
