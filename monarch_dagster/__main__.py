"""`python -m monarch_dagster` is `monarch`."""

import signal


def main() -> None:
    """Run the command."""
    # Until the command itself sees to it, Ctrl-C ends the process at once, without the trace of half an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from monarch_dagster.cli import main as command

    command(prog_name="monarch")


if __name__ == "__main__":
    main()
