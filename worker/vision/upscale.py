"""Enlarges pictures with a network, tile by tile: Swin2SR from a transformers folder, or a community file by spandrel.

Knows no jobs. One tile is one forward, and the caller decides what happens between two.
"""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from worker.errors import CannotOpen
from worker.interfaces import Pixels
from worker.vision.headers import Shapes, config_of, shapes_of, weights_of
from worker.vision.image_processor import GREY
from worker.vision.tiles import Floats, TileBlender, cut_tiles
from worker.vision.transformers_folder import open_network

#: Pixels of a tile's side before it is enlarged, and how far neighbours overlap: further than the network looks. Both
#: are multiples of Swin2SR's windows, so that all tiles are cut into the same ones.
SIDE, OVERLAP = 256, 64
_WINDOW = 16
#: What a network may enlarge by.
_FACTORS = (2, 4, 8)
_SWIN = "swin2sr"  # as its config calls its kind

Network = Callable[[Tensor], Tensor]  # [1, 3, h, w] in 0 … 1 to the same, larger


class Upscaler:
    """A network that makes pictures larger by its own factor; others are reached by repeating it and shrinking.

    `multiple`: what the sides of its input have to be multiples of.
    """

    def __init__(
        self, network: Network, factor: int, device: torch.device, dtype: torch.dtype, multiple: int = 1,
        networks: tuple[nn.Module, ...] = (),
    ) -> None:  # fmt: skip
        self.networks = networks  # what it holds in memory
        self._network, self._device, self._dtype, self._multiple = network, device, dtype, multiple
        self.factor = factor

    @torch.inference_mode()
    def enlarge(
        self, pixels: Pixels, factor: int, side: int = SIDE, overlap: int = OVERLAP
    ) -> Generator[None, None, Pixels]:
        """The picture `factor` times as large; pauses after each tile."""
        height, width = pixels.shape[:2]
        larger, left = pixels, factor
        while left > 1:
            # What would be too large is made smaller tile by tile, so that it is nowhere whole.
            times = min(self.factor, left)
            larger = yield from self._once(larger, times, side, overlap)
            left = -(-left // times)
        wanted = (width * factor, height * factor)
        if larger.shape[1::-1] != wanted:
            larger = np.asarray(Image.fromarray(larger).resize(wanted, Image.Resampling.LANCZOS), dtype=np.uint8)
        return larger

    @torch.inference_mode()
    def smoke_test(self) -> None:
        """One small forward. Raises ArithmeticError for numbers that are none, or whatever the network does."""
        if not np.isfinite(self._forward(GREY)).all():
            raise ArithmeticError("its output is not finite")

    def _once(self, pixels: Pixels, times: int, side: int, overlap: int) -> Generator[None, None, Pixels]:
        height, width = pixels.shape[:2]
        joiner = TileBlender(width * times, height * times, overlap * times)
        for tile in cut_tiles(width, height, side, overlap, grid=_WINDOW):
            place = tile.times(times)
            joiner.add(place, _resized(self._forward(pixels[tile.area]), place.width, place.height))
            yield
        whole: Pixels = np.rint(joiner.picture().clip(0, 1) * 255).astype(np.uint8)
        return whole

    def _forward(self, pixels: Pixels) -> Floats:
        """float [factor · h, factor · w, 3]."""
        missing = [(0, -side % self._multiple) for side in pixels.shape[:2]]
        padded = np.pad(pixels, (*missing, (0, 0)), mode="symmetric")
        image = torch.from_numpy(padded.astype(np.float32) / 255).permute(2, 0, 1)[None]
        out: Floats = self._network(image.to(self._device, self._dtype))[0].float().permute(1, 2, 0).cpu().numpy()
        return out[: pixels.shape[0] * self.factor, : pixels.shape[1] * self.factor]


def _resized(values: Floats, width: int, height: int) -> Floats:
    if values.shape[:2] == (height, width):
        return values
    layers = [
        Image.fromarray(np.ascontiguousarray(values[..., channel])).resize((width, height), Image.Resampling.LANCZOS)
        for channel in range(values.shape[2])
    ]
    return np.stack([np.asarray(layer, dtype=np.float32) for layer in layers], axis=2)


def read_upscaler_headers(path: Path) -> Shapes:
    """Its tensors' shapes, where headers and config say that it is one. Raises CannotOpen with what is wrong."""
    if path.is_dir():
        config, shapes = config_of(path), shapes_of(weights_of(path))
        own = config.get("model_type", _SWIN) == _SWIN and config.get("num_channels", 3) == 3
        if not own or config.get("upscale", _FACTORS[0]) not in _FACTORS:
            raise CannotOpen(_none_in(path))
        return shapes
    if path.suffix == ".safetensors" and path.is_file():
        shapes = shapes_of((path,))
        _check_community(path, shapes)
        return shapes
    raise CannotOpen(_no_upscaler(path))


def _check_community(file: Path, shapes: Shapes) -> None:
    """Builds the network that the names and shapes stand for, on tensors without memory."""
    spandrel = _spandrel(file)
    with torch.device("meta"):
        weights = spandrel.canonicalize_state_dict({name: torch.empty(shape) for name, shape in shapes.items()})
        if not any(kind.detect(weights) for kind in spandrel.MAIN_REGISTRY):
            raise CannotOpen(_none_in(file))
        try:
            model = spandrel.MAIN_REGISTRY.load(weights)
        except Exception:
            # Some architectures read numbers while they are built: what these are of shows at the first use.
            return
    _check_model(spandrel, model, file)


def open_upscaler(path: Path, device: torch.device, dtype: torch.dtype) -> Upscaler:
    """From a folder of Swin2SR, or from one .safetensors file of the ESRGAN family. Raises CannotOpen."""
    try:
        if path.is_dir():
            return _swin(path, device, dtype)
        if path.suffix == ".safetensors" and path.is_file():
            return _community(path, device, dtype)
    except CannotOpen:
        raise
    except Exception as error:
        # Libraries raise whatever they like on a broken file; the owner needs one sentence.
        raise CannotOpen(f"The upscaler {path.name} cannot be read ({error}): is the download complete?") from error
    raise CannotOpen(_no_upscaler(path))


def _swin(folder: Path, device: torch.device, dtype: torch.dtype) -> Upscaler:
    from transformers import Swin2SRForImageSuperResolution

    network = open_network(Swin2SRForImageSuperResolution, folder, device, dtype)
    config = network.config
    if config.upscale not in _FACTORS:
        raise CannotOpen(_none_in(folder))
    return Upscaler(
        lambda image: network(image).reconstruction, int(config.upscale), device, dtype, int(config.window_size),
        networks=(network,),
    )  # fmt: skip


def _community(file: Path, device: torch.device, dtype: torch.dtype) -> Upscaler:
    spandrel = _spandrel(file)
    model = spandrel.ModelLoader(device=device).load_from_file(file)
    _check_model(spandrel, model, file)
    model.model.to(device, dtype).eval().requires_grad_(False)
    return Upscaler(model, int(model.scale), device, dtype, networks=(model.model,))


def _spandrel(file: Path) -> Any:
    """The library that knows such files. Raises CannotOpen."""
    try:
        import spandrel
    except Exception as error:
        # A torchvision that does not fit the torch fails with errors of its own.
        raise CannotOpen(
            f"The upscaler {file.name} needs the extra `upscalers` (spandrel, and a torchvision for this torch): "
            "install it, or name a folder of Swin2SR instead."
        ) from error
    return spandrel


def _check_model(spandrel: Any, model: Any, file: Path) -> None:
    """Raises CannotOpen for one that makes nothing larger."""
    larger = isinstance(model, spandrel.ImageModelDescriptor) and model.scale in _FACTORS
    if not larger or model.input_channels != 3:
        raise CannotOpen(_none_in(file))


def _no_upscaler(path: Path) -> str:
    return f"{path} is not an upscaler: it has to be a folder of Swin2SR or one .safetensors file."


def _none_in(path: Path) -> str:
    return f"{path.name} holds no network that makes colour pictures 2, 4 or 8 times larger."
