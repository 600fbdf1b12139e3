"""Several processes that train together: forks of the test, joined by gloo."""

import os
import signal
import traceback

import torch
from torch import distributed


def together(number, work, folder):
    """Call work(rank) in `number` processes of one group; the exit statuses, negative for signals.

    Results have to be written to files. `folder` is where the processes find each other.
    """
    children = []
    for rank in range(number):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                torch.set_num_threads(1)
                distributed.init_process_group(
                    "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=number
                )
                work(rank)
                distributed.destroy_process_group()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def die():
    """End this process at once, as the kernel does."""
    os.kill(os.getpid(), signal.SIGKILL)
