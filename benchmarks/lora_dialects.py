"""How near LoRAs of other people's libraries come to what those libraries draw: a table, and a line of JSON.

Each library changes the shipped model by itself, with numbers drawn at random, draws a picture, and saves a file; that
file is then drawn by Darkroom. peft is here for the tests; LyCORIS is used where it is installed.

Usage: python -m benchmarks.lora_dialects [--write]     (--write: put the table into docs/models.md)
"""

import argparse
import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from worker.checkpoints import load
from worker.device import choose_device
from worker.interfaces import Adaptation, Family

ROOT = Path(__file__).parents[1]
MODEL, PAGE = ROOT / "models" / "postcard", ROOT / "docs" / "models.md"
STEPS, GUIDANCE, SIDE, SEED = 4, 4.0, 192, 11
RANK, ALPHA = 4, 2
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.2"]
WITH_CONVOLUTIONS = [*ATTENTION, "conv1", "proj_in"]

#: Changes the networks of a loaded model, and saves that to the path.
Change = Callable[[Mapping[str, Any], Path], None]


@dataclass(frozen=True, slots=True)
class Row:
    """`off`: largest difference from the library's own picture, of 255; `seen`: from the picture without the LoRA."""

    library: str
    kind: str
    tensors: int
    off: int | None
    seen: int
    said: str = ""


def picture(family: Family) -> np.ndarray:
    """One picture, by diffusers' own sampler."""
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler.from_config(dict(family.scheduler))
    scheduler.set_timesteps(STEPS)
    texts = [family.encode_prompt(words, negative=not words) for words in ("a red boat on a lake", "")]
    conditions = {name: torch.stack([text[name] for text in texts]) for name in texts[0]}
    noise = torch.randn(1, family.channels, SIDE // family.factor, SIDE // family.factor,
                        generator=torch.Generator().manual_seed(SEED))  # fmt: skip
    latents = noise * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        given = scheduler.scale_model_input(torch.cat([latents] * 2), time)
        wanted, plain = family.denoise(given, time.repeat(2), conditions, torch.ones(2)).chunk(2)
        latents = scheduler.step(plain + GUIDANCE * (wanted - plain), time, latents).prev_sample
    return np.round(family.decode(latents[0]).numpy() * 255).astype(int)


def randomise(weights: Iterator[tuple[str, torch.Tensor]], strength: float) -> None:
    """Numbers for what was laid out; lengths and scales are only stretched a little."""
    random = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, weight in weights:
            noise = torch.randn(weight.shape, generator=random)
            if "dora_scale" in name or "magnitude" in name:
                weight.mul_(1 + 0.15 * noise)
            elif weight.is_floating_point() and "alpha" not in name:
                weight.copy_(strength * noise)


# --- the libraries ----------------------------------------------------------------------------------------------------


def by_lycoris(strength: float, **how: Any) -> Change:
    def change(parts: Mapping[str, Any], path: Path) -> None:
        from lycoris import LycorisNetwork, create_lycoris

        LycorisNetwork.LORA_PREFIX = "lora_unet"  # as its wrapper for kohya's scripts has it
        parts["unet"].to(memory_format=torch.contiguous_format)  # it saves no other layout
        network = create_lycoris(parts["unet"], 1.0, linear_dim=RANK, linear_alpha=ALPHA, **how)
        network.apply_to()
        randomise(network.named_parameters(), strength)
        network.save_weights(str(path), torch.float32, {})

    return change


def by_peft(strength: float, config: Callable[[], Any]) -> Change:
    """peft's own folder: its config lies beside the weights."""

    def change(parts: Mapping[str, Any], path: Path) -> None:
        from peft import get_peft_model

        model = get_peft_model(parts["unet"], config()).eval()
        randomise(trained(model), strength)
        model.save_pretrained(path.parent / path.stem)

    return change


def by_diffusers(strength: float, *, kohya: bool = False, **how: Any) -> Change:
    """Its pipelines' `save_lora_weights`, with the text encoder; or its converter to kohya's layout."""

    def change(parts: Mapping[str, Any], path: Path) -> None:
        from diffusers import StableDiffusionPipeline
        from diffusers.utils import convert_state_dict_to_kohya
        from peft import LoraConfig, inject_adapter_in_model
        from peft.utils import get_peft_model_state_dict

        targets = {"unet": ATTENTION, "text_encoder": ["q_proj", "v_proj", "fc1"]}
        states, remarks = {}, {}
        for name in ("unet",) if kohya else ("unet", "text_encoder"):
            config = LoraConfig(r=RANK, lora_alpha=RANK if kohya else ALPHA, target_modules=targets[name], **how)
            inject_adapter_in_model(config, parts[name])
            parts[name].peft_config = {"default": config}
            parts[name].eval()
            randomise(trained(parts[name]), strength)
            states[name] = get_peft_model_state_dict(parts[name])
            remarks[f"{name}_lora_adapter_metadata"] = config.to_dict()
        if kohya:
            state = {f"unet.{name}": weight for name, weight in states["unet"].items()}
            save_file(convert_state_dict_to_kohya(state), path)
            return
        layers = {f"{name}_lora_layers": state for name, state in states.items()}
        StableDiffusionPipeline.save_lora_weights(path.parent, weight_name=path.name, **layers, **remarks)

    return change


def trained(network: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What peft laid beside a network's own weights."""
    return ((name, weight) for name, weight in network.named_parameters() if re.search(r"lora_|hada_|lokr_", name))


def cases() -> Iterator[tuple[str, str, Change]]:
    """Library, kind, and what makes it."""
    from peft import LoHaConfig, LoKrConfig, LoraConfig

    plain: dict[str, Any] = {"r": RANK, "lora_alpha": ALPHA, "target_modules": WITH_CONVOLUTIONS}
    biased = {**plain, "target_modules": ["to_out.0", "conv1"]}
    for kind, strength, config in (
        ("LoRA", 0.1, lambda: LoraConfig(**plain)),
        ("rsLoRA, alphas by layer", 0.08, lambda: LoraConfig(**plain, use_rslora=True, alpha_pattern={"to_q": 3})),
        ("DoRA", 0.1, lambda: LoraConfig(**plain, use_dora=True)),
        ("LoRA with biases", 0.1, lambda: LoraConfig(**biased, lora_bias=True)),
        ("LoHa", 0.25, lambda: LoHaConfig(r=RANK, alpha=ALPHA, target_modules=WITH_CONVOLUTIONS)),
        ("LoKr", 0.2, lambda: LoKrConfig(r=RANK, alpha=ALPHA, target_modules=WITH_CONVOLUTIONS)),
    ):  # fmt: skip
        yield "peft, its folder", kind, by_peft(strength, config)
    yield "diffusers, `save_lora_weights`", "LoRA", by_diffusers(0.1)
    yield "diffusers, `save_lora_weights`", "DoRA", by_diffusers(0.1, use_dora=True)
    yield "diffusers, converted to kohya's", "LoRA", by_diffusers(0.1, kohya=True)
    if find_spec("lycoris") is None:
        return
    for kind, strength, how in (
        ("LoCon", 0.1, {"algo": "locon"}),
        ("LoCon with CP", 0.15, {"algo": "locon", "use_tucker": True}),
        ("DoRA", 0.1, {"algo": "locon", "dora_wd": True, "wd_on_output": True}),
        ("DoRA on inputs", 0.1, {"algo": "locon", "dora_wd": True, "wd_on_output": False}),
        ("LoHa", 0.25, {"algo": "loha"}),
        ("LoHa with CP", 0.3, {"algo": "loha", "use_tucker": True}),
        ("LoKr", 0.2, {"algo": "lokr", "factor": 4}),
        ("LoKr, full matrices", 0.1, {"algo": "lokr", "factor": 4, "full_matrix": True}),
        ("GLoRA", 0.1, {"algo": "glora"}),
        ("full difference", 0.02, {"algo": "full"}),
        ("norms", 0.1, {"algo": "locon", "train_norm": True}),
        ("OFT", 0.01, {"algo": "diag-oft"}),
        ("BOFT", 0.01, {"algo": "boft"}),
        ("IA3", 0.1, {"algo": "ia3"}),
    ):
        yield "LyCORIS", kind, by_lycoris(strength, **how)


# --- the table --------------------------------------------------------------------------------------------------------


def measure(library: str, kind: str, change: Change, folder: Path, plain: np.ndarray) -> Row:
    """Draws by the library, then by Darkroom from the library's file."""
    device, loras = choose_device("cpu", "float32", 0), folder / "loras"
    loras.mkdir(parents=True)
    changed = load(str(MODEL), device).family
    change(changed.parts, loras / "one.safetensors")
    expected = picture(changed)
    [path] = loras.rglob("*.safetensors")
    with safe_open(path, "pt") as file:
        tensors = len(list(file.keys()))
    ours = load(str(MODEL), device, loras=lambda: {"one": path}).family
    seen = int(np.abs(expected - plain).max())
    try:
        ours.adapt(Adaptation(loras=(("one", 1.0),)))
    except LookupError as refused:
        return Row(library, kind, tensors, None, seen, str(refused).removeprefix("The LoRA `one` "))
    return Row(library, kind, tensors, int(np.abs(picture(ours) - expected).max()), seen)


def table(rows: list[Row]) -> str:
    """As docs/models.md has it."""
    lines = ["| written by | kind | tensors | largest difference, of 255 | without the LoRA |", "|---|---|---|---|---|"]
    for row in rows:
        off = f"refused: it {row.said.partition('. ')[0]}" if row.off is None else str(row.off)
        lines.append(f"| {row.library} | {row.kind} | {row.tensors} | {off} | {row.seen} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prints the table, and writes it where that is wanted."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    options.add_argument("--write", action="store_true", help="put the table into docs/models.md")
    write = options.parse_args().write
    warnings.filterwarnings("ignore")
    rows = []
    with torch.inference_mode(False), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        plain = picture(load(str(MODEL), choose_device("cpu", "float32", 0)).family)
        for number, (library, kind, change) in enumerate(cases()):
            rows.append(measure(library, kind, change, Path(folder) / str(number), plain))
            print(library, kind, rows[-1].off, flush=True)
    print(table(rows))
    if write:
        text = PAGE.read_text("utf-8")
        between = re.compile(r"(<!-- LoRA dialects: [^>]*-->\n).*?(<!-- end of LoRA dialects -->)", re.DOTALL)
        PAGE.write_text(between.sub(lambda found: f"{found[1]}{table(rows)}{found[2]}", text), "utf-8")
    print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
