"""The house: who may import whom, settings and commands that are documented, the public face."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import footfall
from footfall import config
from footfall.app.main import COMMANDS, overview

ROOT = Path(__file__).resolve().parents[1]


def test_imports_go_one_way() -> None:
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_public_face() -> None:
    expected = {
        "Allocation",
        "Client",
        "FootfallError",
        "InfeasibleError",
        "LinearLimit",
        "Problem",
        "Workspace",
        "__version__",
        "make_workspace",
        "open_workspace",
        "solve",
    }
    assert set(footfall.__all__) == expected
    for name in footfall.__all__:
        assert getattr(footfall, name) is not None


def test_import_is_light() -> None:
    script = "import footfall, sys; print([m for m in ('numba', 'duckdb', 'pyarrow', 'rich') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_every_setting_has_a_meaning_and_a_default() -> None:
    for section, key, default, meaning in config.settings():
        assert meaning, f"{section}.{key} is not explained"
        assert default is not None
    assert config.parse(config.template()) == config.Config()


def test_every_command_is_in_the_overview_and_explains_itself(cli) -> None:
    for command in COMMANDS:
        assert command.name in overview()
        shown = cli(command.name, "--help")
        assert shown.status == 0
        assert "For example" in shown.out, f"footfall {command.name} --help has no example"


def test_overview_needs_no_parser() -> None:
    script = "import sys; from footfall.app.main import main; main(['--help']); print('cyclopts' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).splitlines()[-1] == "False"
