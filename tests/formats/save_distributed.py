"""One rank of a small distributed training that saves with torch.distributed.checkpoint.

Usage: save_distributed.py FOLDER, with RANK and WORLD_SIZE in the environment

For each kind of sharding, writes FOLDER/KIND/run/step-N by all ranks together, and FOLDER/KIND/plain/N.pt, the whole
weights, by rank 0.
"""

import os
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

STEPS = (90, 100, 1000)
PLACEMENTS = {"rows": Shard(0), "columns": Shard(1), "replicated": Replicate()}


def main(folder):
    rank, num_ranks = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    store = (folder / "store").absolute().as_uri()
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=num_ranks)
    mesh = init_device_mesh("cpu", (num_ranks,))
    torch.manual_seed(0)
    for kind, placement in PLACEMENTS.items():
        _save_tensors(placement, mesh, folder / kind)
    _save_fsdp(mesh, folder / "fsdp")
    print("saved everything", flush=True)
    dist.destroy_process_group()


def _save_tensors(placement, mesh, folder):
    """A state dict of distributed tensors whose sizes do not divide by the number of ranks, and a plain one."""
    state = {"embed.weight": torch.randn(11, 7), "fc.weight": torch.randn(5, 9), "stem.weight": torch.randn(6, 3, 3, 3)}
    for step in STEPS:
        for tensor in state.values():
            tensor.add_(0.01 * torch.randn_like(tensor))
        spread = {name: distribute_tensor(tensor, mesh, [placement]) for name, tensor in state.items()}
        dcp.save({**spread, "head.weight": state["fc.weight"] + 1}, checkpoint_id=folder / "run" / f"step-{step}")
        writer = dcp.HuggingFaceStorageWriter(str(folder / "slices" / f"step-{step}"), save_distributed=True)
        dcp.save({**spread, "head.weight": state["fc.weight"] + 1}, storage_writer=writer)
        _save_plain({**state, "head.weight": state["fc.weight"] + 1}, folder, step)


def _save_fsdp(mesh, folder):
    """A model that FSDP2 shards, trained, with its optimizer beside it."""
    model = nn.Sequential(nn.Embedding(11, 8), nn.Linear(8, 13), nn.Linear(13, 5))
    for layer in model:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in STEPS:
        model(torch.randint(0, 11, (4,))).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        state = {"model": get_model_state_dict(model), "optimizer": get_optimizer_state_dict(model, optimizer)}
        dcp.save(state | {"step": step}, checkpoint_id=folder / "run" / f"step-{step}")
        _save_plain(state["model"], folder, step)


def _save_plain(state, folder, step):
    whole = {n: t.full_tensor() if isinstance(t, DTensor) else t for n, t in state.items()}
    if dist.get_rank() == 0:
        (folder / "plain").mkdir(parents=True, exist_ok=True)
        torch.save(whole, folder / "plain" / f"{step}.pt")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
