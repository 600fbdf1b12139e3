"""The command line from a checkout: `python cli.py denoise corrupted.png`."""

from robustdip.__main__ import main

if __name__ == "__main__":
    main()
