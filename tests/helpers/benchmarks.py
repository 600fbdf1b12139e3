"""Lines of records, and the command line that makes them for a small picture."""

import json
from pathlib import Path

from benchmarks.record import code


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def grid(picture: Path, results: Path, *more) -> list:
    options = ["--side", 32, "--steps", 2, "--threads", 1, "--device", "cpu", "--results", results]
    return ["run", picture, *options, *more]


def line(image: str, method: str, value: float, **more) -> dict:
    """A line of quality.jsonl, of the present code unless it is said to be of another."""
    case = {"image": image, "side": 64, "kind": "random-valued", "amount": 0.5, "method": method}
    measured = {"seed": 0, "psnr": value, "ssim": 0.5, "precision": None, "recall": None}
    ran = {"date": "2026-01-01", "commit": "abc1234", "code": code("images")}
    return {**case, **measured, "seconds": 1.0, **ran, **more}
