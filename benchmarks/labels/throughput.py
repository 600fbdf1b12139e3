"""Images per second through a whole training step, beside a plain DataLoader loop.

    python -m benchmarks.labels.throughput --data cifar10.npz [--network fast] [--batches 20]
                                          [--device cpu] [--threads 2]

The plain loop is what a tutorial writes: torchvision transforms on PIL images, a DataLoader with
as many workers as threads, float32, contiguous memory, SGD, cross entropy. Ours is `Training` with
the recipe `cpu` and method `sop`. Both alternate, so that the machine's moods hit both. The parts
of our step are timed by themselves.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.logs import THROUGHPUT
from benchmarks.options import parse, parser
from benchmarks.record import settings_of
from sop_classify.data.image_data import ImageData
from sop_classify.data.loading import load_data
from sop_classify.methods.build import training_for
from sop_classify.methods.catalogue import recipe_for
from sop_classify.training.loop import TrainingLoop
from sop_classify.training.networks import build_network
from sop_classify.training.views import crop, draw_views, normalise


def main() -> None:
    options = parser(__doc__, device="cpu")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--network", default="fast")
    options.add_argument("--batches", type=int, default=20)
    options.add_argument("--repeats", type=int, default=5)
    args = parse(options)
    recipe = dataclasses.replace(recipe_for("cpu", "sop"), network=args.network, epochs=10**6)
    data = load_data(path=args.data)
    number = args.batches * recipe.batch_size
    data = dataclasses.replace(
        data,
        train_images=data.train_images[:number],
        train_labels=data.train_labels[:number],
        test_images=data.test_images[:8],
        test_labels=data.test_labels[:8],
        label_sets={},
    )
    training = training_for(data, data.train_labels, recipe, device=args.device)
    epochs = training.epochs()
    plain = Plain(data, args.network, recipe.batch_size, args.device, args.threads)
    next(epochs), plain.epoch()  # warm-up
    ours, theirs = [], []
    for _ in range(args.repeats):
        ours.append(number / next(epochs).seconds)
        theirs.append(number / plain.epoch())
    results = {
        "ours": round(statistics.median(ours)),
        "plain_loop": round(statistics.median(theirs)),
        "ratio": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2),
        "parts_us_per_image": parts(training, data, recipe.batch_size),
    }
    print(results)
    THROUGHPUT.record("labels", settings_of(args), results, device=args.device)


class Plain:
    """The loop of a tutorial."""

    def __init__(
        self, data: ImageData, network: str, batch_size: int, device: str, workers: int
    ) -> None:
        view = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
            ]
        )
        images = [Image.fromarray(image) for image in data.train_images]
        examples = Viewed(images, data.train_labels.tolist(), view)
        self.loader = DataLoader(
            examples, batch_size, shuffle=True, num_workers=workers, persistent_workers=True
        )
        start = torch.zeros(16, 3, 32, 32)
        start.copy_(torch.from_numpy(data.train_images[:16].transpose(0, 3, 1, 2)) / 255)
        generator = torch.Generator().manual_seed(0)
        self.network = build_network(network, 10, images=start, generator=generator).to(device)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=0.02, momentum=0.9)
        self.device = device

    def epoch(self) -> float:
        """Seconds."""
        begin = time.perf_counter()
        for images, labels in self.loader:
            loss = F.cross_entropy(self.network(images.to(self.device)), labels.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        loss.item()  # waits for the device
        return time.perf_counter() - begin


class Viewed(Dataset[tuple[torch.Tensor, int]]):
    def __init__(
        self,
        images: list[Image.Image],
        labels: list[int],
        view: Callable[[Image.Image], torch.Tensor],
    ):
        self.images, self.labels, self.view = images, labels, view

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.view(self.images[i]), self.labels[i]


def parts(training: TrainingLoop, data: ImageData, batch: int) -> dict[str, float]:
    """Microseconds an image of the step's parts, by themselves, medians of 10."""
    images = torch.from_numpy(data.train_images).to(training.device)
    index = torch.arange(batch, device=training.device)
    labels = training.given[:batch]
    drawn = draw_views(batch, pad=2, generator=torch.Generator().manual_seed(0))
    views = drawn.to(training.device)
    statistics_ = [torch.full((3,), value, device=training.device) for value in (0.5, 0.25)]

    def view() -> torch.Tensor:
        cropped = crop(images, index, views, fill="reflect")
        return normalise(cropped, *statistics_, dtype=training.precision)

    x = view()

    def forward() -> torch.Tensor:
        with torch.autocast(training.device.type, training.precision):
            return training.network(x)

    logits = forward().float().detach().requires_grad_()

    def whole() -> None:
        forward().float().sum().backward()

    def optimise() -> None:
        for optimizer in chain.from_iterable(training.optimizers):
            optimizer.step()

    timed = {
        "views": _time(view),
        "network_forward": _time(forward),
        "network_both": _time(whole),
        "loss": _time(lambda: training.loss(logits, labels, index).backward()),
        "optimizers": _time(optimise),
    }
    return {name: round(1e6 * seconds / batch, 1) for name, seconds in timed.items()}


def _time(function) -> float:
    times = []
    for _ in range(10):
        begin = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


if __name__ == "__main__":
    main()
