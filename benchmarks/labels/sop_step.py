"""What a step of SOPLoss costs, as the number of examples grows: it must not grow with it.

python -m benchmarks.labels.sop_step [--batch 128] [--classes 10] [--device cpu] [--threads 2]
"""

import statistics
import time

import torch

from benchmarks.logs import SOP_STEP
from benchmarks.options import parse, parser
from benchmarks.record import settings_of
from sop_classify.methods.sop import SOPLoss


def main() -> None:
    options = parser(__doc__, device="cpu")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--classes", type=int, default=10)
    args = parse(options)
    # Interleaved, so that a busy moment of the machine does not fall on one size alone.
    sizes = [10_000, 100_000, 1_000_000, 10_000_000]
    losses = {n: SOPLoss(n, args.classes).to(args.device) for n in sizes}
    times: dict[int, list[float]] = {n: [] for n in sizes}
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(args.batch, args.classes, generator=generator).to(args.device)
    labels = torch.randint(args.classes, (args.batch,), generator=generator).to(args.device)
    for repeat in range(210):
        for n, loss in losses.items():
            index = torch.randint(n, (args.batch,), generator=generator).to(args.device)
            x = logits.clone().requires_grad_()
            _wait(args.device)
            begin = time.perf_counter()
            loss(x, labels, index).backward()
            _wait(args.device)
            if repeat >= 10:
                times[n].append(time.perf_counter() - begin)
    results = {str(n): round(1e6 * statistics.median(t), 1) for n, t in times.items()}
    print("microseconds a step, forward and backward, by number of examples:", results)
    settings = settings_of(args) | {"unit": "microseconds, median of 200"}
    SOP_STEP.record("labels", settings, results, device=args.device)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
