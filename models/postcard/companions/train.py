"""Trains the companions: `python -m models.postcard.companions.train --stage vision|ip_adapter|upscaler|lora|all`.

Each stage goes on from its checkpoint under .training/companions/ and ends by writing its part of the model folder.
"""

import argparse
import os
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from models.postcard.companions.vision import train_vision
from models.postcard.team import together
from models.postcard.train import HERE

STAGES = {"vision": (25.0, 1e-3)}


def frozen_vae() -> AutoencoderKL:
    """The shipped autoencoder."""
    return AutoencoderKL.from_pretrained(HERE / "vae", torch_dtype=torch.float32).eval().requires_grad_(False)


def main() -> None:
    """Read the command line and run the stages asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    parser.add_argument("--minutes", type=float, default=0, help="wall time of this stage (default: the stage's own)")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--folder", type=Path, default=Path(".training/companions"), help="where checkpoints are kept")
    parser.add_argument("--team", type=int, default=os.cpu_count() or 1, help="processes that train together")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    together(args.team, train_vision, args.folder, frozen_vae(), args.minutes or 25, args.lr or 1e-3)


if __name__ == "__main__":
    main()
