"""Help is written for readers: paragraphs flow, examples keep their lines, and nothing is left without a word."""

from __future__ import annotations

from footfall.app.cli import run
from footfall.app.cli.help import joined


def test_paragraphs_flow_and_examples_keep_their_lines() -> None:
    text = "One.\n\nA sentence that\ngoes on.\n\nFor example:\n\n    footfall a\n    footfall b"
    assert joined(text) == "One.\n\nA sentence that goes on.\n\nFor example:\n\n    footfall a\n    footfall b"


def test_help_of_a_command_flows_to_the_width(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["import", "--help"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    told = next(line for line in lines if line.startswith("Importing the same file twice"))
    assert "unless `--replace` takes out what the file brought before" in told
    assert "    footfall import events.ndjson.gz" in lines
    assert not any("--empty-" in line for line in lines)


def test_a_wrong_argument_points_to_the_help_of_its_own_command(capsys) -> None:
    assert run(["plan", "publish", "abc"]) == 2
    assert "`footfall plan publish --help`" in capsys.readouterr().err
    assert run(["plan", "--frob"]) == 2
    assert "`footfall plan --help`" in capsys.readouterr().err
