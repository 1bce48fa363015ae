"""Runs a module as a program whose wall clock is wrong by so many seconds: `skewed SECONDS MODULE WORDS...`."""

import runpy
import sys
import time


def main() -> None:
    """Set the clock of this process, and become the program."""
    skew_s, module, *words = float(sys.argv[1]), *sys.argv[2:]
    true_time = time.time
    time.time = lambda: true_time() + skew_s
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
