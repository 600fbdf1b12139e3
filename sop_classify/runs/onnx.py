"""A model as ONNX, compared with PyTorch."""

import json
import logging
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sop_classify.runs.model import Model

__all__ = ["onnx_bytes"]

_TOLERANCE = 1e-4


class _Whole(nn.Module):
    """Normalisation, network and softmax."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        for name, values in ("mean", model.mean), ("std", model.std):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        mean: Any = self.mean
        return self.network((images - mean) / self.std).softmax(1)


def onnx_bytes(model: Model) -> tuple[bytes, float]:
    """The file, and the largest difference of a probability from PyTorch's.

    Parameters
    ----------
    model : Model

    Returns
    -------
    data : bytes
        Input "images", float32, (N, 3, H, W), RGB in [0, 1]; output "probabilities", (N, C). The
        metadata hold "class_names" and "image_size" (height, width) as JSON.
    difference : float
        Over 5 random images, computed by onnxruntime.

    Raises
    ------
    ValueError
        If onnx, onnxruntime or onnxscript is not installed, the network cannot be exported, or the
        two differ by more than 1e-4.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"{error.name} is not installed; run: pip install 'robustdip[onnx]'"
        ) from None
    whole = _Whole(model).eval()
    rng = np.random.default_rng(0)
    images = rng.random((5, 3, *model.image_size), dtype=np.float32)
    proto = _exported(whole, torch.from_numpy(images[:2]))
    for key, value in {
        "class_names": list(model.class_names),
        "image_size": list(model.image_size),
    }.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    data = proto.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (there,) = session.run(["probabilities"], {"images": images})
    with torch.no_grad():
        here = whole(torch.from_numpy(images)).numpy()
    difference = float(np.abs(np.asarray(there) - here).max())
    if not difference <= _TOLERANCE:
        raise ValueError(f"ONNX differs by {difference:g} from PyTorch; nothing was written")
    return data, difference


def _exported(whole: nn.Module, example: Tensor) -> Any:
    """The graph for any number of images; the exporter says much that is of no use to a user."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                whole,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["images"],
                output_names=["probabilities"],
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(f"PyTorch cannot export this network: {error}") from error
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    if program is None:
        raise ValueError("PyTorch exported nothing")
    return program.model_proto
