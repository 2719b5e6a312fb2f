"""The command line: parses and prints, nothing else. Each command is a function of the package."""

from __future__ import annotations

import sys

import typer

# isort: off  (each adds its commands to the app, and help lists them in this order)
from curate.cli import effects, govern, handoff, look, make  # noqa: F401
from curate.cli.app import app

__all__ = ["app", "entry", "main"]

STOPPED = 130  # what a shell reports of a command that Ctrl-C ended


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 a check failed, 2 wrong usage, 3 bad input."""
    from curate.errors import CurateError, RecipeError
    from curate.io.room import full

    _stop_on_sigterm()
    try:
        # Not standalone, typer returns the exit code of typer.Exit, and 130 for Ctrl-C, as a value.
        code = int(app(args=arguments, standalone_mode=False) or 0)
    except CurateError as error:
        lines = str(error).splitlines()
        if isinstance(error, RecipeError) and len(lines) > 1:
            lines.insert(0, f"{len(lines)} problems:")
        typer.echo("\n".join(["error: " + lines[0], *("  " + line for line in lines[1:])]), err=True)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except OSError as error:
        if (told := full(error)) is not None:
            typer.echo(f"error: {told}", err=True)
            return told.exit_code
        where = f": {error.filename}" if error.filename else ""
        typer.echo(f"error: {error.strerror or error}{where}; what is finished is kept", err=True)
        return 1
    except MemoryError:
        typer.echo("error: out of memory; run again with fewer --workers or a smaller --memory", err=True)
        return 1
    except Exception as error:  # noqa: BLE001  typer keeps the base of its usage errors to itself
        if (told := full(error)) is None:
            return _usage(error)
        typer.echo(f"error: {told}", err=True)
        return told.exit_code
    if code == STOPPED:
        typer.echo("stopped; what is finished is kept: the same command goes on from here", err=True)
    return code


def _usage(error: Exception) -> int:
    """Print a usage error as one line; anything else is a defect of ours and keeps its traceback."""
    show = getattr(error, "format_message", None)
    if show is None:
        raise error
    if message := show():  # there is none where the command line was empty and the help has been printed
        typer.echo(f"error: {message}\ntry: curate --help", err=True)
    return 2


def _stop_on_sigterm() -> None:
    """Let a scheduler's SIGTERM unwind like Ctrl-C, so that no worker process is left behind."""
    import signal
    import threading

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)


def entry() -> None:
    """Be the ``curate`` command."""
    sys.exit(main())
