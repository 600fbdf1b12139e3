"""The processes that train together, and which of them this one is.

torchrun starts the processes, `torchrun` joins them, and `Processes` says which one this is.
Example i belongs to process i mod R of R. Its row of u and v, and what else is kept about it, is
read and written there alone; the first process has room for the rows of all examples, because it
writes the checkpoint, and collects them at the end of each epoch.

All processes draw the same random numbers, so that a batch is the same whatever R is. Each takes
those of the batch that belong to it: none twice, and none is added to make the parts equal.
Sums are taken in float32 or in integers, and divided by the size of the whole batch:
gloo has no bfloat16, and its AVG is not to be relied on (pytorch/pytorch#162338).

Without PyTorch until there are several processes, so that a command line can ask.
"""

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LostProcessError", "Processes", "current", "torchrun"]


class LostProcessError(ConnectionError):
    """Another process of the training has ended, so that this one cannot go on."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them; by default it is alone.

    The methods that say "collective" have to be called by all of them in the same order.

    Attributes
    ----------
    rank : int
        Which one this is, from 0.
    number : int
        How many there are.
    """

    rank: int = 0
    number: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    @property
    def restarted(self) -> bool:
        """Whether torchrun has started them again, after one was lost."""
        return self.number > 1 and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0

    def owns(self, index: "Tensor") -> "Tensor":
        """Whether each of these examples belongs to this process: bool, of the shape of `index`."""
        return index % self.number == self.rank

    def row(self, index: "Tensor") -> "Tensor":
        """Where this process keeps what it knows about its own examples `index`."""
        return index if self.is_first else index // self.number

    def take(self, rows: "Tensor") -> "Tensor":
        """Select this process's rows of an array with one row for each example."""
        return rows if self.is_first else rows[self.rank :: self.number].clone()

    def add(self, tensors: Iterable["Tensor"]) -> None:
        """Replace tensors of one dtype by their sums over all processes. Collective."""
        each = list(tensors)
        if self.number == 1 or not each:
            return
        import torch

        flat = torch.cat([tensor.detach().reshape(-1) for tensor in each])
        with _connected():
            torch.distributed.all_reduce(flat)
        for tensor, total in zip(each, flat.split([t.numel() for t in each]), strict=True):
            tensor.detach().copy_(total.view(tensor.shape))

    def collect(self, rows: "Tensor") -> None:
        """Send the rows of this process to the first, which puts each in its place. Collective.

        Parameters
        ----------
        rows : Tensor, shape (N, ...) in the first process
            In the others (n, ...), as `take` gives them.
        """
        if self.number == 1:
            return
        from torch import distributed

        with _connected():
            if not self.is_first:
                if len(rows):
                    distributed.send(rows.contiguous(), dst=0)
                return
            for other in range(1, self.number):
                part = rows[other :: self.number].contiguous()
                if len(part):
                    distributed.recv(part, src=other)
                    rows[other :: self.number] = part

    def require_same(self, what: str, digest: "Tensor") -> None:
        """Raise ValueError unless all processes give the same whole numbers. Collective."""
        if self.number == 1:
            return
        total = digest.clone()
        self.add([total])
        differ = (total != self.number * digest).sum().reshape(1)
        self.add([differ])
        if int(differ):
            raise ValueError(
                f"the {self.number} processes have not the same {what}; give all of them the same, "
                "or leave torch.distributed if each trains alone"
            )

    def wait(self) -> None:
        """Wait until all have come here. Collective."""
        if self.number > 1:
            from torch import distributed

            with _connected():
                distributed.barrier()

    @contextmanager
    def in_turn(self) -> Generator[None, None, None]:
        """The first process does what is inside, then the others do. Collective."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


def current() -> Processes:
    """Those of `torch.distributed`, if it has been initialised; else this process is alone."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return Processes()
    return Processes(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def torchrun(device: str) -> Generator[tuple[Processes, str], None, None]:
    """Join the processes that torchrun has started, if it started this one.

    All but the first are silent inside.

    Parameters
    ----------
    device : str
        As in `overparam.devices.pick_device`.

    Yields
    ------
    processes : Processes
    device : str
        The one of this process: where "cuda" is asked for or there, each has a GPU of its own.

    Raises
    ------
    ValueError
        If a GPU is named, or there are fewer than processes on this machine.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes(), device
        return
    import torch
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    from overparam.devices import pick_device

    place = pick_device(device)
    if place.type == "cuda":
        if place.index is not None and device != "auto":
            raise ValueError(f"device is {device!r}; each process takes its own: give cuda")
        local, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= found:
            raise ValueError(f"there are {found} GPUs; start as many processes on this machine")
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    with _connected():
        store, rank, number = next(rendezvous("env://"))
        # torchrun may keep its store when it starts the processes again, with the addresses of
        # those that are gone.
        start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        torch.distributed.init_process_group(
            "nccl" if place.type == "cuda" else "gloo",
            store=PrefixStore(f"start-{start}", store),
            rank=rank,
            world_size=number,
        )
    try:
        processes = current()
        if processes.is_first:
            yield processes, device
        else:
            with (
                open(os.devnull, "w") as nowhere,
                redirect_stdout(nowhere),
                redirect_stderr(nowhere),
            ):
                yield processes, device
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def _connected() -> Generator[None, None, None]:
    """Make what torch.distributed raises when another process is gone into one kind of error."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of this training has ended; --resume goes on after the last complete "
            "epoch"
        ) from error
