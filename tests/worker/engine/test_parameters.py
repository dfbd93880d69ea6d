"""The table of model kinds × parameters: each changes the picture, or the person is told that it does not."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from bot.catalogue import checkpoint_files
from core.catalogue import FAMILIES, Choices, LoraFile, Style
from core.errors import PromptError
from core.parameters import PARAMETERS
from core.prompt import Defaults, Parsed, parse
from tests.worker.checkpoint import SCHEDULER, make
from tests.worker.checkpoint_families import make_flux, make_sd3, make_sdxl
from tests.worker.checkpoint_loras import make_lora
from tests.worker.compared import distance
from tests.worker.engine_driver import EngineDriver, pixels
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import choose_device

CPU = choose_device("cpu", "float32", 0)
#: A value for each parameter that is not what it is without.
VALUES = {
    "ar": "2:1", "no": "a yellow star", "seed": "77", "count": "2", "steps": "7", "quality": "2", "cfg": "3",
    "sampler": "dpmpp_2m", "stop": "50", "model": "other", "lora": "ink:1", "chaos": "80", "stylize": "1000",
    "tile": "", "raw": "", "fast": "", "relax": "", "turbo": "",
}  # fmt: skip
LANES = {"fast", "relax", "turbo"}
PLAIN = frozenset({"ar", "seed", "count", "steps", "quality", "model", "stylize", "raw", *LANES})
SAMPLED = PLAIN | {"stop", "lora", "chaos"}


def whole(folder: Path, kind: str, **config: Any) -> Path:
    """The folder with a scheduler that no sampler here knows."""
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "scheduler": ["diffusers", kind]}))
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": kind, **config}))
    return folder


def distilled(folder: Path) -> Path:
    """Its UNet takes the guidance as a number, as LCM's does."""
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps({**config, "time_cond_proj_dim": 8}))
    (weights,) = (folder / "unet").glob("*.safetensors")
    more = {"time_embedding.cond_proj.weight": torch.randn(16, 8, generator=torch.Generator().manual_seed(1))}
    save_file({**load_file(weights), **more}, weights, {"format": "pt"})
    return folder


Maker = Callable[[Path], Path]
#: Kinds of models, and the parameters that change their pictures. All others are refused or named.
KINDS: dict[str, tuple[Maker, frozenset[str]]] = {
    "sd1": (make, SAMPLED | {"no", "cfg", "sampler", "tile"}),
    "sd1-v": (lambda folder: make(folder, "v_prediction"), SAMPLED | {"no", "cfg", "sampler", "tile"}),
    "sd1-lcm": (lambda folder: distilled(make(folder)), SAMPLED | {"cfg", "sampler", "tile"}),
    "sdxl": (make_sdxl, SAMPLED | {"no", "cfg", "sampler", "tile"}),
    "sdxl-turbo": (make_sdxl, SAMPLED | {"cfg", "sampler", "tile"}),
    "flux-dev": (lambda folder: make_flux(folder, guided=True), SAMPLED | {"cfg"}),
    "flux-schnell": (lambda folder: make_flux(folder, guided=False), SAMPLED),
    "sd3": (make_sd3, PLAIN | {"no", "cfg"}),
    "sd3-turbo": (make_sd3, PLAIN | {"cfg"}),
    "edm": (lambda folder: whole(make_sdxl(folder), "EDMEulerScheduler"), PLAIN | {"no", "cfg"}),
    "tcd-distilled": (
        lambda folder: whole(distilled(make(folder)), "TCDScheduler", **SCHEDULER), PLAIN | {"cfg"},
    ),
    "dev-whole": (
        lambda folder: whole(
            make_flux(folder, guided=True), "FlowMatchLCMScheduler"
        ),
        PLAIN | {"cfg"},
    ),
    "schnell-whole": (
        lambda folder: whole(
            make_flux(folder, guided=False), "FlowMatchLCMScheduler"
        ),
        PLAIN,
    ),
}  # fmt: skip


def loaded_as(name: str, folder: Path) -> LoadedCheckpoint:
    made = KINDS[name][0](folder / name)
    loaded = load(str(made), CPU, loras=lambda: {"ink": folder / "ink.safetensors"})
    network = "unet" if "unet" in loaded.family.parts else "transformer"
    layers = ("attn.to_q", "attn.to_v") if network == "transformer" else ("attn1.to_q", "attn2.to_k", "attn2.to_v")
    make_lora(folder / "ink.safetensors", loaded.family.parts, (network,), layers=layers)
    return loaded


def test_every_parameter_has_a_value_to_be_tried_with() -> None:
    assert set(VALUES) == {parameter.name for parameter in PARAMETERS}


@pytest.mark.parametrize("name", KINDS)
def test_each_parameter_changes_the_picture_or_is_named(tmp_path: Path, name: str) -> None:
    loaded = loaded_as(name, tmp_path)
    model = replace(FAMILIES[loaded.info.family], name=name, path="x", style=Style(positive="calm light, blue, soft"))
    model = replace(model.refined_by(loaded.info), steps=4, sizes=((64, 64), (128, 64)))
    other = replace(model, name="other")
    driver = EngineDriver(loaded)

    def read(typed: str) -> Parsed:
        choices = Choices(
            default=name, models={name: model, "other": other}, loras={"ink": LoraFile(name="ink", path="ink")}
        )
        return parse(f"a boat {typed}", choices=choices, defaults=Defaults(count=1), seed=5)

    def drawn(parsed: Parsed, job: str) -> list[Any]:
        return [pixels(picture) for picture in driver.render(replace(parsed.request, model=name), job=job)]

    plain = drawn(read(""), "plain")
    found = set()
    for parameter, value in VALUES.items():
        try:
            parsed = read(f"--{parameter} {value}")
        except PromptError as error:
            assert f"--{parameter}" in error.sentence or value in error.sentence, error.sentence
            continue
        said = any(f"--{parameter}" in one for one in (*parsed.ignored, *parsed.notes))
        if parameter in LANES or parameter == "model":  # which say where it is drawn, and by what
            assert parsed.lane == parameter or "Drawn by `other`." in parsed.notes
            found.add(parameter)
            continue
        pictures = drawn(parsed, parameter)
        same_shapes = [one.shape for one in pictures] == [one.shape for one in plain]
        changed = not same_shapes or max(map(distance, pictures, plain)) > 0
        assert changed != said, f"--{parameter} {'is said to change nothing' if said else 'changes nothing unsaid'}"
        found |= {parameter} if changed else set()
    assert found == KINDS[name][1]


@pytest.mark.parametrize("name", ["sd1", "sd1-lcm", "sdxl", "flux-dev", "flux-schnell"])
def test_what_the_files_tell_is_said_before_a_worker_has_loaded_them(tmp_path: Path, name: str) -> None:
    model = replace(checkpoint_files.model_at(KINDS[name][0](tmp_path / name)), name=name)
    choices = Choices(default=name, models={name: model})
    for parameter, value in (("no", "a yellow star"), ("cfg", "3")):
        try:
            parsed = parse(f"a boat --{parameter} {value}", choices=choices, defaults=Defaults(), seed=5)
            said = any(f"--{parameter}" in note for note in parsed.notes)
        except PromptError as error:
            said = f"--{parameter}" in error.sentence
        assert said == (parameter not in KINDS[name][1]), f"--{parameter}"


def test_a_negative_prompt_counts_with_enough_guidance_where_it_was_refused_without(tmp_path: Path) -> None:
    loaded = loaded_as("sdxl-turbo", tmp_path)
    model = replace(FAMILIES["sdxl"], name="sdxl-turbo", path="x").refined_by(loaded.info)
    assert model.guidance == 1.0
    model = replace(model, steps=4, min_side=32, max_side=256, sizes=())
    choices = Choices(default=model.name, models={model.name: model})
    driver, pictures = EngineDriver(loaded), []
    for number, negative in enumerate(("", " --no a yellow star")):
        parsed = parse(f"a boat --cfg 2{negative}", choices=choices, defaults=Defaults(count=1), seed=5)
        pictures.append(pixels(driver.render(parsed.request, job=str(number))[0]))
    assert distance(*pictures) > 0


def test_pipelines_that_are_guided_below_one_say_so() -> None:
    from worker.diffusers_internals import guides_at

    def bare(kind: type) -> Any:
        return kind.__new__(kind)

    assert guides_at(bare(diffusers.ZImagePipeline), 1.0) is True
    assert guides_at(bare(diffusers.StableDiffusion3Pipeline), 1.0) is False
    assert guides_at(bare(diffusers.StableDiffusion3Pipeline), 2.0) is True
    assert guides_at(bare(diffusers.FluxPipeline), 2.0) is None
