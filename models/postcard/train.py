"""Makes the shipped model from nothing, stage by stage: `python -m models.postcard.train --stage all`.

Each stage goes on from its checkpoint under .training/, or with --from-shipped from the weights of this folder. Run
again after a kill, `all` leaves out the stages that it has ended.
"""

import argparse
import os
import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from models.postcard.checkpoints import Average, load, save, step_of
from models.postcard.export import export
from models.postcard.latents import encode
from models.postcard.team import Team, together
from models.postcard.text import new_text_encoder, teach_words
from models.postcard.tokenizer import write_tokenizer
from models.postcard.unet import LARGE, SMALL, Denoiser, new_unet, train_unet
from models.postcard.vae import new_vae, psnr, train_decoder, train_vae
from models.postcard.world import SIZES, training_scene

HERE = Path(__file__).parent


def frozen_vae(folder: Path) -> AutoencoderKL:
    """The trained autoencoder, shifted and scaled so that each latent channel has mean 0 and deviation 1.

    Both are folded into its 1x1 convolutions: a pipeline knows only one factor for all channels, and no shift.
    """
    vae = new_vae()
    average = Average(vae, 0.0)
    load(folder / "vae.safetensors", vae, average)
    vae = average.model
    vae.register_to_config(scaling_factor=1.0)
    rng = random.Random(8)
    latents = encode(vae, [training_scene(rng, SIZES[0]) for _ in range(96)])
    shift, scale = latents.mean((0, 2, 3)), 1 / latents.std((0, 2, 3))
    print(f"latents: mean {shift.tolist()} deviation {(1 / scale).tolist()}", flush=True)
    with torch.no_grad():
        into, out = vae.quant_conv, vae.post_quant_conv
        out.bias += out.weight[:, :, 0, 0] @ shift
        out.weight /= scale.view(1, -1, 1, 1)
        into.weight[:4] *= scale.view(-1, 1, 1, 1)
        into.bias[:4] = (into.bias[:4] - shift) * scale
        into.bias[4:] += 2 * scale.log()
    return vae


def parts(folder: Path) -> tuple[Denoiser, CLIPTokenizer]:
    """A new denoiser and the tokenizer that its text encoder reads."""
    tokenizer = write_tokenizer(folder / "tokenizer")
    return Denoiser(new_unet(), new_text_encoder(tokenizer)), tokenizer


def take_back(shipped: Path, folder: Path) -> None:
    """Make checkpoints of the shipped weights, to go on from them at any stage."""
    denoiser = Denoiser(
        UNet2DConditionModel.from_pretrained(shipped / "unet", torch_dtype=torch.float32),
        CLIPTextModel.from_pretrained(shipped / "text_encoder", dtype=torch.float32),
    )
    save(folder / "painter.safetensors", denoiser, Average(denoiser, 0.0), 1)
    vae = AutoencoderKL.from_pretrained(shipped / "vae", torch_dtype=torch.float32)
    save(folder / "vae.safetensors", vae, Average(vae, 0.0), 0)
    vae.save_pretrained(folder / "vae")
    finished(folder).write_text("".join(f"{stage}\n" for stage in STAGES[: STAGES.index("large")]), encoding="utf-8")


def finished(folder: Path) -> Path:
    """The list of stages that `all` has ended, one a line."""
    return folder / "finished.txt"


def freeze(folder: Path) -> None:
    """End the autoencoder's training: standardise it and write it where the UNet's training finds it."""
    vae = frozen_vae(folder)
    print(f"frozen autoencoder: held-out {psnr(vae):.2f} dB", flush=True)
    vae.save_pretrained(folder / "vae")


def ship(folder: Path, shipped: Path) -> None:
    """Write the model folder from the checkpoints."""
    denoiser, tokenizer = parts(folder)
    average = Average(denoiser, 0.0)
    load(folder / "painter.safetensors", denoiser, average)
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    export(shipped, vae, average.model.unet, average.model.text, tokenizer)


def paint(team: Team, stage: str, folder: Path, minutes: float, lr: float) -> None:
    """The UNet's two stages: small pictures for what words mean, then large ones of all sizes."""
    denoiser, tokenizer = parts(folder)
    vae = AutoencoderKL.from_pretrained(folder / "vae").eval().requires_grad_(False)
    small = stage == "small"
    sizes, minutes = (SMALL, minutes or 20) if small else (LARGE, minutes or 110)
    train_unet(team, folder, denoiser, vae, tokenizer, minutes=minutes, sizes=sizes, lr=lr, decay=not small)


def words(folder: Path, seconds: float) -> None:
    """Begins the denoiser: a new UNet, and a text encoder that has had its lesson. Never replaces one that paints."""
    path = folder / "painter.safetensors"
    if path.exists() and (step := step_of(path)):
        raise SystemExit(f"{path} has painted for {step} steps, and words begins anew. Remove it first.")
    denoiser, tokenizer = parts(folder)
    teach_words(denoiser.text, tokenizer, seconds)
    save(path, denoiser, Average(denoiser, 0.0), 0)


def run_all(args: argparse.Namespace) -> None:
    """Every stage that has not ended yet: a killed training goes on with the stage it was in."""
    path = finished(args.folder)
    ended = path.read_text(encoding="utf-8").split() if path.exists() else []
    for stage in STAGES:
        if stage in ended:
            print(f"{stage} has ended already ({path})", flush=True)
            continue
        run(stage, args)
        ended.append(stage)
        path.write_text("".join(f"{name}\n" for name in ended), encoding="utf-8")


def run(stage: str, args: argparse.Namespace) -> None:
    """One stage."""
    folder, minutes = args.folder, args.minutes
    if stage == "vae":
        together(args.team, train_vae, folder, minutes or 35, args.lr or 1.5e-3)
    elif stage == "freeze":
        freeze(folder)
    elif stage == "words":
        words(folder, 60 * (minutes or 1.5))
    elif stage == "decoder":
        together(args.team, train_decoder, folder, minutes or 8, args.lr or 1e-3)
    elif stage in ("small", "large"):
        together(args.team, paint, stage, folder, minutes, args.lr or 1e-3)
    elif stage == "ship":
        ship(folder, args.out)


STAGES = ("vae", "freeze", "words", "small", "large", "decoder", "ship")


def main() -> None:
    """Read the command line and run the stages asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    parser.add_argument("--minutes", type=float, default=0, help="wall time of this stage (default: the stage's own)")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--folder", type=Path, default=Path(".training"), help="where checkpoints are kept")
    parser.add_argument("--out", type=Path, default=HERE, help="where the finished model folder is written")
    parser.add_argument("--from-shipped", action="store_true", help="start from the weights in this folder")
    parser.add_argument("--team", type=int, default=os.cpu_count() or 1, help="processes that train together")
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    if args.from_shipped:
        take_back(HERE, args.folder)
    if args.stage == "all":
        run_all(args)
    else:
        run(args.stage, args)


if __name__ == "__main__":
    main()
