"""One rank of small trainings by DeepSpeed that save checkpoints, one for each stage of ZeRO.

Usage: save_deepspeed.py FOLDER, with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set.

Writes FOLDER/STAGE/run/global_stepN by all ranks together, and FOLDER/STAGE/plain/step_N.pt, the whole weights, by
rank 0.
"""

import os
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

STAGES = (1, 2, 3)
STEPS = (2, 4, 6)


class Model(nn.Module):
    """Layers whose sizes do not divide by the number of ranks, one of which is not trained, and buffers."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.norm = nn.BatchNorm1d(8)
        self.fc = nn.Linear(8, 13)
        self.frozen = nn.Linear(13, 5).requires_grad_(requires_grad=False)
        self.out = nn.Linear(5, 3)

    def forward(self, words):
        return self.out(self.frozen(self.fc(self.norm(self.embed(words)))))


def train(deepspeed, stage, folder):
    rank = int(os.environ["RANK"])
    torch.manual_seed(0)
    config = {
        "train_micro_batch_size_per_gpu": 4,
        "optimizer": {"type": "AdamW", "params": {"lr": 0.01, "torch_adam": True}},
        "zero_optimization": {"stage": stage},
        "zero_force_ds_cpu_optimizer": False,
    }
    engine, *_ = deepspeed.initialize(model=Model(), config=config)
    for step in range(1, STEPS[-1] + 1):
        words = torch.randint(0, 11, (4,), generator=torch.Generator().manual_seed(10 * step + rank))
        engine.backward(engine(words).square().mean())
        engine.step()
        if step in STEPS:
            engine.save_checkpoint(str(folder / "run"), tag=f"global_step{step}")
            with deepspeed.zero.GatheredParameters(list(engine.module.parameters()), enabled=stage == 3):
                whole = {name: tensor.detach().clone() for name, tensor in engine.module.state_dict().items()}
            if rank == 0:
                (folder / "plain").mkdir(parents=True, exist_ok=True)
                torch.save(whole, folder / "plain" / f"step_{step}.pt")


def main(folder):
    import deepspeed

    # Ranks add up by gloo, not by an extension that would be compiled first: a minute, for nothing that is saved.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo")
    for stage in STAGES:
        train(deepspeed, stage, folder / str(stage))
    print("saved everything", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
