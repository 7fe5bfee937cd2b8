"""The processes that train together, as torchrun starts them; one alone otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Workers:
    """``rank`` of ``count`` processes. Rank 0 leads: it alone writes and evaluates."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and evaluates."""
        return self.rank == 0

    def together(self, network: nn.Module, device: str) -> nn.Module:
        """The network whose gradients are the mean over all processes."""
        if self.count == 1:
            return network
        ids = [torch.cuda.current_device()] if device == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values

    def leader(self, value: float) -> float:
        """The leading process's value, in every process: clocks differ, and all must do the same."""
        if self.count == 1:
            return value
        shared = [value]
        torch.distributed.broadcast_object_list(shared, 0)
        return shared[0]


@contextmanager
def joined_workers(device: str) -> Iterator[Workers]:
    """Joins the processes torchrun started, each with a GPU of its own where ``device`` is cuda, and leaves them."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or torch.distributed.is_initialized():
        started = torch.distributed.is_initialized()
        yield Workers(torch.distributed.get_rank(), torch.distributed.get_world_size()) if started else Workers()
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Workers(torch.distributed.get_rank(), count)
    finally:
        torch.distributed.destroy_process_group()
