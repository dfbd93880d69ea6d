"""Trains the companions: `python -m models.postcard.companions.train --stage vision|ip_adapter|upscaler|lora|all`.

Each stage goes on from its checkpoint under .training/companions/, or with --from-shipped from the weights in the model
folder (not the vision network), and ends by writing its part of that folder.
The image prompt adapter learns on the embeddings of the vision network that is shipped by then.
"""

import argparse
import os
from pathlib import Path

import torch

from models.postcard.companions.frozen_model import frozen_vae
from models.postcard.companions.ip_adapter import ship_ip_adapter, train_ip_adapter
from models.postcard.companions.lora import ship_lora, train_lora
from models.postcard.companions.taking_back import BACK
from models.postcard.companions.upscaler import ship_upscaler, train_upscaler
from models.postcard.companions.vision import ship_vision, train_vision
from models.postcard.team import together
from models.postcard.train import HERE

MINUTES = {"vision": 27.0, "upscaler": 15.0, "lora": 10.0, "ip_adapter": 35.0}


def run(stage: str, team: int, folder: Path, out: Path, minutes: float, lr: float | None) -> None:
    """One stage: learn, then write."""
    if stage == "vision":
        together(team, train_vision, folder, frozen_vae(), minutes, lr or 1e-3)
        ship_vision(folder, out / stage)
    elif stage == "upscaler":
        together(team, train_upscaler, folder, frozen_vae(), minutes, lr or 2e-3)
        ship_upscaler(folder, out / stage)
    elif stage == "lora":
        together(team, train_lora, folder, minutes, lr or 4e-3)
        ship_lora(folder, out / stage)
    else:
        together(team, train_ip_adapter, folder, out / "vision", minutes, lr or 1e-3)
        ship_ip_adapter(folder, out / stage)


def main() -> None:
    """Read the command line and run the stages asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=("all", *MINUTES), default="all")
    parser.add_argument("--minutes", type=float, default=0, help="wall time of this stage (default: the stage's own)")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--folder", type=Path, default=Path(".training/companions"), help="where checkpoints are kept")
    parser.add_argument("--out", type=Path, default=HERE, help="the model folder, which the companions join")
    parser.add_argument("--team", type=int, default=os.cpu_count() or 1, help="processes that train together")
    parser.add_argument("--from-shipped", action="store_true", help="start from the weights in the model folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for stage in MINUTES if args.stage == "all" else (args.stage,):
        if args.from_shipped and stage in BACK:
            BACK[stage](args.out, args.folder)
        run(stage, args.team, args.folder, args.out, args.minutes or MINUTES[stage], args.lr)


if __name__ == "__main__":
    main()
