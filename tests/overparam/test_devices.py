"""Promise: a device is the one of its name, or a line says which names there are."""

import pytest
import torch

from overparam.devices import pick_device


def test_names():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    for name in (
        "gpu",
        "CPU",
        "",
        "cuda:",
        "cuda:-1",
        "cuda:99999999999999999999",
        "meta",
        "cpu\n",
    ):
        with pytest.raises(ValueError, match="auto, cpu, cuda, cuda:N or mps is needed"):
            pick_device(name)
    for name in (None, 0, torch.device("cpu")):
        with pytest.raises(TypeError, match="as a string"):
            pick_device(name)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1").index == 1
    with pytest.raises(ValueError, match=r"'cuda:2' is not there \(2 CUDA devices\)"):
        pick_device("cuda:2")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'mps' is not there"):
        pick_device("mps")
