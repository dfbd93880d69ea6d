"""What changes nothing with a model is known from its files, before any worker has loaded it."""

import json
from pathlib import Path

from bot.catalogue import ModelRegistry, checkpoint_files
from bot.config import Config
from storage.database import Database
from storage.settings import Settings
from tests.harness import weight_files


def test_a_distilled_file_takes_no_negative_prompt(data: Path) -> None:
    more = {"model.diffusion_model.time_embed.cond_proj.weight": [320, 256]}
    path = weight_files.tensors(data / "models" / "lcm.safetensors", {**weight_files.checkpoint_shapes(768), **more})
    assert checkpoint_files.model_at(path).ignores == ("no",)
    assert checkpoint_files.model_at(weight_files.checkpoint(data / "models" / "own.safetensors")).ignores == ()


async def test_an_entry_has_it_from_its_files_too(data: Path) -> None:
    folder = weight_files.folder(data / "distilled")
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps({**config, "time_cond_proj_dim": 256}))
    (data / "models.toml").write_text(f'[[model]]\nname = "quick"\nwhere = "{folder}"\nfamily = "sd1"\n')
    async with Database.open(data) as db:
        registry = ModelRegistry(Config.from_env({"DARKROOM_DATA": str(data)}, data / "no.env"), Settings(db))
        await registry.begin()
        assert registry.choices.models["quick"].ignores == ("no",)
