"""The commands: parse, call the loop, print. Nothing is computed here."""

from __future__ import annotations

import difflib
import errno
import os
import sys
import traceback

from footfall.app.main import COMMANDS
from footfall.errors import FootfallError

SYSTEM_ERRORS = {
    errno.ENOSPC: "the disk is full; nothing half written is counted: make room and run the command again",
    errno.EDQUOT: "the disk quota is used up; make room and run the command again",
    errno.EROFS: "the file system is read-only; use a workspace on one that can be written",
    errno.EACCES: "permission is missing; check the owner and mode of the file or folder",
    errno.EPERM: "permission is missing; check the owner and mode of the file or folder",
}


STDIN = "/dev/stdin"


def run(arguments: list[str]) -> int:
    """Run one command; a FootfallError becomes a message and its exit status, never a traceback."""
    names = [command.name for command in COMMANDS]
    if arguments[0] not in names:
        near = difflib.get_close_matches(arguments[0], names, 1)
        return fail(
            f"unknown command or option {arguments[0]!r}",
            f"did you mean `footfall {near[0]}`?" if near else "`footfall --help` lists the commands",
            2,
        )
    from cyclopts import App, CycloptsError, Parameter

    from footfall.app.cli.help import HelpFormatter

    app = App(
        name="footfall",
        help_format="plaintext",
        help_formatter=HelpFormatter(),
        version_flags=[],
        default_parameter=Parameter(negative_iterable=()),  # no --empty-this beside lists
    )
    for command in COMMANDS:
        app.command(command.target, name=command.name)
    try:
        # The parser takes a lone "-" for an option; standard input has a name that it leaves alone.
        app(
            [STDIN if text == "-" else text for text in arguments],
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        asked = " ".join(error.command_chain or arguments[:1])
        return fail(_plain(error), f"`footfall {asked} --help` shows the options", 2)
    except FootfallError as error:
        return fail(error.message, error.way_out, error.exit_status)
    except KeyboardInterrupt:
        return fail("interrupted; what was committed stays, nothing is half done", "", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return fail("not enough memory", "lower [record] memory_mb in footfall.toml, or use a larger machine", 1)
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        return fail(f"{error.strerror or error}{name}", SYSTEM_ERRORS.get(error.errno or 0, ""), 1)
    except Exception as error:  # noqa: BLE001 - the last resort: a defect of ours, said as such
        if os.environ.get("FOOTFALL_DEBUG"):
            traceback.print_exc()
        return fail(
            f"internal error: {type(error).__name__}: {error}",
            "this is a defect of Footfall, not of your data; FOOTFALL_DEBUG=1 prints where it happened",
            70,
        )
    return 0


def fail(message: str, way_out: str, status: int) -> int:
    """Print an error to standard error and return its exit status."""
    sys.stderr.write(f"error: {message}\n")
    if way_out:
        sys.stderr.write(f"  {way_out}\n")
    return status


def _plain(error: Exception) -> str:
    from rich.text import Text

    return Text.from_markup(str(error)).plain.strip().rstrip(".") or type(error).__name__
