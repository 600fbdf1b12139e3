"""Records: what was measured, with which settings and versions, on what kind of machine."""

import datetime
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import skimage
import torch
import torchvision

import robustdip

RESULTS = Path(__file__).parent / "results"


def circumstances() -> dict[str, Any]:
    """Everything about this run that the numbers may depend on."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    return {
        "date": datetime.date.today().isoformat(),
        # Names without their folders: where the files lay says nothing.
        "command": " ".join(["python", *(Path(word).name for word in sys.argv)]),
        "commit": commit,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": {
            "python": platform.python_version(),
            "robustdip": robustdip.__version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "scikit-image": skimage.__version__,
        },
    }


def write_record(name: str, settings: dict[str, Any], results: Any) -> Path:
    """Write results/NAME.json; the same name is replaced, git keeps the history."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    record = {**circumstances(), "settings": settings, "results": results}
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def _processor() -> str:
    features = [
        name
        for name, found in (
            ("AMX", "_is_amx_tile_supported"),
            ("AVX512-bf16", "_is_avx512_bf16_supported"),
        )
        if getattr(torch.cpu, found, bool)()
    ]
    try:
        with open("/proc/cpuinfo") as lines:
            model = next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        model = platform.processor()
    return f"{model} ({', '.join(features) or 'no bf16'})"
