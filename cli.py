"""The command line from a checkout: `python cli.py denoise corrupted.png`."""

from robustdip.__main__ import app

if __name__ == "__main__":
    app()
