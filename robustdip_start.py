"""Where the program starts: Ctrl-C is answered before anything is imported that takes time.

A module outside of the packages, because their imports come before those of any module in them.
Until this one is reached, in the 10 to 40 ms in which Python itself starts, Ctrl-C ends it with
Python's own traceback: no program can change that.
"""

import os
import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line, and exit."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _leave)  # until overparam.program has handlers of its own
    from robustdip.__main__ import main as run

    run()


def _leave(number: int, frame: object) -> None:
    try:
        os.write(2, b"interrupted: nothing more was written\n")
    except OSError:  # standard error is closed
        pass
    os._exit(128 + number)
