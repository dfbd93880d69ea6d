"""Prints the table of single-file kinds in docs/models.md: how far each is from what diffusers draws of its folder.

Usage: python -m tests.worker.single_file_table CHECKOUT, a checkout of diffusers, whose own scripts write the files.
Fetches nothing; takes some minutes.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from core.safetensors_header import parse
from core.single_file import WrongFile, identify
from tests.harness import weight_files
from tests.worker import engine_driver
from tests.worker.checkpoint import make
from tests.worker.checkpoint_families import make_sdxl
from tests.worker.checkpoint_single import Tensors, renamed, scaled_fp8
from tests.worker.compared import distance, ours, plain, with_sampler
from tests.worker.engine_driver import request
from worker.checkpoints import LoadedCheckpoint, loader
from worker.device import choose_device

CPU = choose_device("cpu", "float32", 0)
UNET = "model.diffusion_model."
CLIP, OPEN_CLIP, FIRST = "cond_stage_model.transformer.", "cond_stage_model.model.", "conditioner.embedders.0.model."
XL_CLIP = "conditioner.embedders.0.transformer."
Change = Callable[[Tensors], Tensors]


def resized(folder: Path) -> Path:
    """With two layers in each block, which is all that the scripts know."""
    torch.manual_seed(5)
    for name, kind in (("unet", diffusers.UNet2DConditionModel), ("vae", diffusers.AutoencoderKL)):
        network = kind.from_config({**kind.load_config(folder / name), "layers_per_block": 2})
        with torch.no_grad():
            (network.conv_out if name == "unet" else network.decoder.conv_out).weight.mul_(4)
        network.save_pretrained(folder / name)
    return folder


def second(folder: Path) -> Path:
    """As 2.x: its text encoder has 23 layers, by whose number the script knows it."""
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    CLIPTextModel(CLIPTextConfig(**{**config, "num_hidden_layers": 23})).save_pretrained(folder / "text_encoder")
    return folder


def converted(checkout: Path, folder: Path, path: Path, *options: str) -> Path:
    """Written by diffusers' script for this kind."""
    kind = "sdxl" if (folder / "text_encoder_2").is_dir() else "stable_diffusion"
    script = checkout / "scripts" / f"convert_diffusers_to_original_{kind}.py"
    where = ["--model_path", str(folder), "--checkpoint_path", str(path), "--use_safetensors", *options]
    subprocess.run([sys.executable, str(script), *where], check=True, stdout=subprocess.DEVNULL)
    return path


def changed(path: Path, change: Change, name: str) -> Path:
    """A copy of the file, as another program has it."""
    other = path.with_name(name)
    save_file({key: one.contiguous() for key, one in change(load_file(path)).items()}, other)
    return other


def opened(path: Path, folder: Path) -> LoadedCheckpoint:
    """With the folder's configs, since all of it is tiny."""
    read = loader.read_file
    loader.read_file = partial(read, config=folder)
    try:
        return loader.load(str(path), CPU)
    finally:
        loader.read_file = read


def furthest(path: Path, folder: Path, kind: type, scheduler: Mapping[str, Any] | None = None) -> int:
    """Of what we draw from the file, from what diffusers draws from the folder."""
    loaded, wanted = opened(path, folder), request(steps=6)
    pipeline = kind.from_pretrained(folder)
    if scheduler:
        pipeline.scheduler = diffusers.EulerDiscreteScheduler.from_config({**pipeline.scheduler.config, **scheduler})
    else:
        pipeline = with_sampler(pipeline, loaded, wanted.sampler)
    rescale = float(loaded.family.scheduler.get("guidance_rescale", 0.0))
    return distance(ours(loaded, wanted), plain(pipeline, wanted, **({"guidance_rescale": rescale} if rescale else {})))


def rounded(folder: Path, to: Callable[[str, torch.Tensor], torch.Tensor]) -> Path:
    """The folder's weights as the file can hold them."""
    for weights in folder.glob("*/*.safetensors"):
        save_file({name: to(name, one) for name, one in load_file(weights).items()}, weights, {"format": "pt"})
    return folder


def half(name: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half().float() if tensor.is_floating_point() else tensor


def eighth(name: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.float8_e4m3fn).float() if tensor.is_floating_point() else tensor


def drawn(checkout: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """A row for each kind that is drawn."""
    sd, sdxl = diffusers.StableDiffusionPipeline, diffusers.StableDiffusionXLPipeline
    names: list[tuple[str, Callable[[Path], Path], type, tuple[tuple[str, str], ...]]] = [
        ("Stable Diffusion 1.x", make, sd, ((CLIP, f"{CLIP}text_model."),)),
        ("Stable Diffusion XL", make_sdxl, sdxl, ((XL_CLIP, f"{XL_CLIP}text_model."),)),
    ]
    for name, maker, kind, old in names:
        place = resized(maker(folder / name))
        path = converted(checkout, place, folder / f"{name}.safetensors")
        yield f"{name}, as diffusers writes it", furthest(path, place, kind)
        path_old = changed(path, renamed(*old), "old.safetensors")
        yield f"{name}, text encoder with `text_model.`", furthest(path_old, place, kind)
        signs = {"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}
        path_v = changed(path, lambda tensors, signs=signs: {**tensors, **signs}, "v.safetensors")
        own = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        yield f"{name} with `v_pred` and `ztsnr`", furthest(path_v, place, kind, own)
        for ending in ("scale_weight", "weight_scale"):
            for rows in (False, True):
                small = changed(path, scaled_fp8(ending, torch.float8_e4m3fn, rows=rows), "scaled.safetensors")
                again = changed(small, partial(unscaled, ending), "unscaled.safetensors")
                apart = distance(*(ours(opened(one, place), request(steps=6)) for one in (small, again)))
                yield f"{name} in scaled fp8, `{ending}` for {'each row' if rows else 'a layer'}", apart
        halved = rounded(resized(maker(folder / f"{name} half")), half)
        yield (
            f"{name} in fp16",
            furthest(converted(checkout, place, folder / "half.safetensors", "--half"), halved, kind),
        )
        if maker is make:
            fp8 = changed(path, in_fp8, "8.safetensors")
            yield f"{name} in plain fp8", furthest(fp8, rounded(resized(maker(folder / f"{name} 8")), eighth), kind)
    yield from drawn_of_2(checkout, folder)
    yield "Stable Diffusion 1.x, distilled (LCM)", distilled(checkout, folder)


def in_fp8(tensors: Tensors) -> Tensors:
    return {name: one.to(torch.float8_e4m3fn) for name, one in tensors.items()}


def unscaled(ending: str, tensors: Tensors) -> Tensors:
    """The weights that a scaled file stands for."""
    scales = {name.removesuffix(ending): one for name, one in tensors.items() if name.endswith(ending)}
    found = {name: one for name, one in tensors.items() if not name.endswith((ending, "scale_input", "scaled_fp8"))}
    return found | {f"{layer}weight": found[f"{layer}weight"].float() * one for layer, one in scales.items()}


def drawn_of_2(checkout: Path, folder: Path) -> Iterator[tuple[str, int]]:
    place = second(resized(make(folder / "second")))
    weights = place / "text_encoder" / "model.safetensors"
    new = load_file(weights)
    path = converted(checkout, place, folder / "base.safetensors")
    yield "Stable Diffusion 2.x, as diffusers writes it", furthest(path, place, diffusers.StableDiffusionPipeline)
    save_file({f"text_model.{name}": one for name, one in new.items()}, weights, {"format": "pt"})
    path = converted(checkout, place, folder / "base-old.safetensors")
    save_file(new, weights, {"format": "pt"})
    yield "Stable Diffusion 2.x with OpenCLIP's names", furthest(path, place, diffusers.StableDiffusionPipeline)
    turbo = changed(path, renamed((OPEN_CLIP, FIRST)), "base-as-xl.safetensors")
    apart = distance(*(ours(opened(one, place), request(steps=6)) for one in (turbo, path)))
    yield "Stable Diffusion 2.x as `sd_turbo.safetensors` has it", apart


def distilled(checkout: Path, folder: Path) -> int:
    """Its folder is made distilled once it is converted: the script leaves out what takes the guidance."""
    place = resized(make(folder / "distilled"))
    path = converted(checkout, place, folder / "d.safetensors")
    weight = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))
    more = {f"{UNET}time_embed.cond_proj.weight": weight}
    path = changed(path, lambda tensors: {**tensors, **more}, "distilled.safetensors")
    loaded = opened(path, place)
    unet = json.loads((place / "unet" / "config.json").read_text())
    (place / "unet" / "config.json").write_text(json.dumps({**unet, "time_cond_proj_dim": 8}))
    (weights,) = (place / "unet").glob("*.safetensors")
    save_file({**load_file(weights), "time_embedding.cond_proj.weight": weight}, weights, {"format": "pt"})
    pipeline = with_sampler(diffusers.StableDiffusionPipeline.from_pretrained(place), loaded, "euler")
    wanted = request(steps=6)
    return distance(ours(loaded, wanted), plain(pipeline, wanted))


def refused() -> Iterator[tuple[str, str]]:
    """A row for each kind that is refused, by its header alone."""
    layer = f"{UNET}input_blocks.1.0.layer"
    kinds: dict[str, tuple[int, dict[str, list[int]], str, str]] = {
        "a pruned UNet (SSD-1B and the like)": (2048, {}, f"{UNET}input_blocks.7.1.transformer_blocks.9", ""),
        "noise of EDM (Playground 2.5)": (2048, {"edm_mean": [4], "edm_std": [4]}, "", ""),
        "a prediction that nobody here knows": (2048, {}, "", "rectified_flow"),
        "weights quantised in blocks or to whole numbers": (
            768, {f"{layer}.weight": [8, 4], f"{layer}.weight_scale": [8, 2]}, "", "",
        ),
        "inpainting": (768, {f"{UNET}input_blocks.0.0.weight": [8, 9, 3, 3]}, "", ""),
        "XL's refiner": (1280, {FIRST + "x": [1], f"{UNET}label_emb.0.0.weight": [1, 1]}, "cond_stage_model.", ""),
        "a part of a model": (768, {}, "cond_stage_model.", ""),
    }  # fmt: skip
    for name, (width, more, without, says) in kinds.items():
        shapes = weight_files.checkpoint_shapes(width)
        kept = {key: shape for key, shape in shapes.items() if not without or not key.startswith(without)}
        metadata = {"modelspec.prediction_type": says} if says else {}
        try:
            identify(parse(weight_files.beginning({**kept, **more}, **metadata)[0]), "model")
        except WrongFile as error:
            yield name, str(error)


_fits: list[Any] = []
_fit = engine_driver.fit_once


def fitted_once(family: Any) -> Any:
    """The map of the first decoder, for all."""
    if not _fits:
        _fits.append(_fit(family))
    return _fits[0]


def main() -> None:
    # Nobody looks at previews here; fitting them to each decoder would take most of the time.
    engine_driver.fit_once = fitted_once
    print("| file | largest difference, of 255 |\n|---|---|")
    with TemporaryDirectory() as made:
        for name, apart in drawn(Path(sys.argv[1]), Path(made)):
            print(f"| {name} | {apart} |", flush=True)
    for name, sentence in refused():
        print(f"| {name} | refused: “{sentence}” |")


if __name__ == "__main__":
    main()
