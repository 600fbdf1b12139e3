"""The command line from a checkout: `python cli.py denoise corrupted.png`."""

from robustdip_start import main

if __name__ == "__main__":
    main()
