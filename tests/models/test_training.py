"""Training can stop and go on, from its own checkpoint or from what is shipped, and what it ships is a whole model."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from models.postcard import train
from models.postcard.checkpoints import step_of
from models.postcard.export import open_pipeline
from models.postcard.team import Team
from models.postcard.train import HERE, STAGES, freeze, parts, ship, take_back
from models.postcard.unet import train_unet
from models.postcard.vae import train_vae

WEIGHTS = ("unet/diffusion_pytorch_model", "text_encoder/model")
SMALL = (96, 96)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name + key: tensor for name in WEIGHTS for key, tensor in load_file(folder / f"{name}.safetensors").items()}


def test_what_is_taken_back_ships_as_it_was(tmp_path: Path) -> None:
    take_back(HERE, tmp_path / "training")
    ship(tmp_path / "training", tmp_path / "model")
    before, after = weights(HERE), weights(tmp_path / "model")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_every_stage_goes_on_from_the_one_before(tmp_path: Path, monkeypatch) -> None:
    few = {"vae.POOL": 4, "vae.BATCH": 2, "unet.BATCH": 4, "train.SIZES": [SMALL]}
    # A clock that ticks a second at each look: so many steps, however busy the machine is.
    clock = SimpleNamespace(monotonic=count().__next__)
    clocks = {"vae.time": clock, "unet.time": clock}
    for name, value in (few | clocks | dict.fromkeys(("vae.psnr", "train.psnr"), lambda vae: 0.0)).items():
        monkeypatch.setattr(f"models.postcard.{name}", value)
    folder = tmp_path / "training"
    take_back(HERE, folder)
    train_vae(Team(), folder, 4 / 60, 1e-6)
    vae_steps = step_of(folder / "vae.safetensors")
    assert vae_steps > 0
    freeze(folder)
    denoiser, tokenizer = parts(folder)
    vae = open_pipeline(HERE).vae
    steps = []
    for _ in range(2):
        train_unet(Team(), folder, denoiser, vae, tokenizer, minutes=6 / 60, sizes={SMALL: 1.0}, lr=1e-6, start_pool=2)
        steps.append(step_of(folder / "painter.safetensors"))
    assert 0 < steps[0] < steps[1]
    ship(folder, tmp_path / "model")
    open_pipeline(tmp_path / "model")
    before, after = weights(HERE), weights(tmp_path / "model")
    changed = [key for key, tensor in before.items() if not torch.equal(tensor, after[key])]
    assert changed, "the training changed nothing"


def test_the_words_stage_replaces_no_painter_that_has_painted(tmp_path: Path) -> None:
    take_back(HERE, tmp_path)
    before = (tmp_path / "painter.safetensors").read_bytes()
    with pytest.raises(SystemExit, match="Remove it first"):
        train.words(tmp_path, 0.0)
    assert (tmp_path / "painter.safetensors").read_bytes() == before


def test_killed_in_one_stage_all_goes_on_with_that_stage(tmp_path: Path, monkeypatch) -> None:
    ran: list[str] = []

    def killed_at(stage: str):
        def run(name: str, args: SimpleNamespace) -> None:
            ran.append(name)
            if name == stage:
                raise KeyboardInterrupt

        return run

    monkeypatch.setattr(train, "run", killed_at("large"))
    with pytest.raises(KeyboardInterrupt):
        train.run_all(SimpleNamespace(folder=tmp_path))
    monkeypatch.setattr(train, "run", killed_at("none"))
    train.run_all(SimpleNamespace(folder=tmp_path))
    assert ran == [*STAGES[: STAGES.index("large") + 1], *STAGES[STAGES.index("large") :]]


def test_from_what_is_shipped_all_goes_on_with_the_large_pictures(tmp_path: Path, monkeypatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(train, "run", lambda name, args: ran.append(name))
    take_back(HERE, tmp_path)
    train.run_all(SimpleNamespace(folder=tmp_path))
    assert ran[0] == "large"
