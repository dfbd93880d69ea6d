"""Makes checkpoints of the companions that are shipped, so that a stage can go on without the folder it was made in.

The vision network cannot be taken back: what asked it questions while it learned is not shipped.
"""

from pathlib import Path

from safetensors.torch import load_file
from transformers import Swin2SRForImageSuperResolution

from models.postcard.checkpoints import Average, save
from models.postcard.companions import ip_adapter, lora
from models.postcard.companions.frozen_model import frozen_model

ONE_STEP = 1  # so that a stage which goes on draws other random numbers than a stage which begins


def upscaler_back(shipped: Path, folder: Path) -> None:
    """From the folder that transformers reads."""
    model = Swin2SRForImageSuperResolution.from_pretrained(shipped / "upscaler")
    save(folder / "upscaler.safetensors", model, Average(model, 0.0), ONE_STEP)


def lora_back(shipped: Path, folder: Path) -> None:
    """From the style file."""
    style = lora.Style(frozen_model().unet)
    style.read(load_file(shipped / "lora" / lora.FILE))
    save(folder / "lora.safetensors", style, Average(style, 0.0), ONE_STEP)


def ip_adapter_back(shipped: Path, folder: Path) -> None:
    """From the adapter's file."""
    adapter = ip_adapter.Adapter(frozen_model().unet)
    adapter.read(load_file(shipped / "ip_adapter" / ip_adapter.FILE))
    save(folder / "ip_adapter.safetensors", adapter, Average(adapter, 0.0), ONE_STEP)


BACK = {"upscaler": upscaler_back, "lora": lora_back, "ip_adapter": ip_adapter_back}
