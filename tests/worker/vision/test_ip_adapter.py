"""Image prompts: what a picture adds to a UNet is what diffusers adds, for each row by its own scale."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file

from tests.worker.companions import EMBED, WIDTH, make_adapter
from worker.interfaces import Pixels
from worker.vision import IPAdapter, ip_adapter_kwargs
from worker.vision.headers import shapes_of, weights_of
from worker.vision.ip_adapter import AdapterTarget, Projection, check_adapter, open_adapter

ROWS, TIMES = 3, torch.tensor([900.0, 400.0, 10.0])


@pytest.fixture
def unet(folder: Path) -> Any:
    """The tiny checkpoint's, one of its own for each test: an adapter changes it."""
    return UNet2DConditionModel.from_pretrained(folder / "unet").eval().requires_grad_(False)


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and texts of three rows."""
    torch.manual_seed(9)
    return torch.randn(ROWS, 4, 8, 8), torch.randn(ROWS, 77, 32)


def pixels(seed: int) -> Pixels:
    """Noise as a picture."""
    return torch.randint(0, 256, (40, 48, 3), generator=torch.Generator().manual_seed(seed)).byte().numpy()


def installed(unet: Any, folder: Path) -> IPAdapter:
    """The adapter of that folder in this UNet."""
    adapter = open_adapter(AdapterTarget.of(unet), folder / "adapter.safetensors", folder / "image_encoder")
    adapter.install(unet)
    return adapter


def stacked(*rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A batch's conditions."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


@torch.inference_mode()
@pytest.mark.parametrize("plus", [False, True])
def test_a_picture_says_what_it_says_in_diffusers(unet: Any, inputs: Any, tmp_path: Path, plus: bool) -> None:
    latents, text = inputs
    folder = make_adapter(tmp_path, unet, plus=plus)
    plain = UNet2DConditionModel.from_config(unet.config)
    plain.load_state_dict(unet.state_dict())
    adapter = installed(unet, folder)
    tokens = adapter.tokens(pixels(1))
    weights = load_file(folder / "adapter.safetensors")
    halves = {
        half: {name.removeprefix(f"{half}."): value for name, value in weights.items() if name.startswith(half)}
        for half in ("image_proj", "ip_adapter")
    }
    # Their own pipeline cannot be asked for tokens: it makes them inside, from what its encoder saw.
    plain._load_ip_adapter_weights([halves])
    for processor in plain.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [0.7]
    plain.encoder_hid_proj = Given(tokens.expand(ROWS, *tokens.shape))
    expected = plain(latents, TIMES, text, added_cond_kwargs={"image_embeds": []}).sample
    row = {"image": tokens, "image_scale": torch.full((len(tokens), len(adapter.style_layers)), 0.7)}
    found = unet(latents, TIMES, text, cross_attention_kwargs=ip_adapter_kwargs(stacked(row, row, row))).sample
    assert (found - expected).abs().max() < 1e-4
    assert (found - unet(latents, TIMES, text).sample).abs().max() > 1e-3, "and not nothing"


class Given(torch.nn.Module):
    """Stands where diffusers makes tokens."""

    def __init__(self, tokens: torch.Tensor) -> None:
        super().__init__()
        self._tokens = tokens

    def forward(self, _embeds: Any) -> list[torch.Tensor]:
        """The tokens that it was given."""
        return [self._tokens]


@torch.inference_mode()
@pytest.mark.parametrize("plus", [False, True])
def test_its_tokens_are_those_of_diffusers(unet: Any, tmp_path: Path, plus: bool) -> None:
    folder = make_adapter(tmp_path, unet, plus=plus)
    weights = {
        name.removeprefix("image_proj."): value
        for name, value in load_file(folder / "adapter.safetensors").items()
        if name.startswith("image_proj.")
    }
    theirs = unet._convert_ip_adapter_image_proj_to_diffusers(dict(weights), low_cpu_mem_usage=False)
    seen = torch.randn(1, 17, WIDTH) if plus else torch.randn(1, EMBED)
    assert (Projection(weights)(seen) - theirs(seen)).abs().max() < 1e-5


@torch.inference_mode()
def test_each_row_has_its_own_scale_and_none_means_nothing(unet: Any, inputs: Any, tmp_path: Path) -> None:
    latents, text = inputs
    folder = make_adapter(tmp_path, unet)
    without = unet(latents, TIMES, text).sample
    adapter = installed(unet, folder)
    assert torch.allclose(unet(latents, TIMES, text).sample, without, atol=1e-4), "no picture, no change"
    tokens, layers = adapter.tokens(pixels(1)), len(adapter.style_layers)
    rows = [{"image": tokens, "image_scale": torch.full((len(tokens), layers), scale)} for scale in (0.0, 0.5, 1.0)]
    together = unet(latents, TIMES, text, cross_attention_kwargs=ip_adapter_kwargs(stacked(*rows))).sample
    for place, row in enumerate(rows):
        here = slice(place, place + 1)
        alone = unet(
            latents[here], TIMES[here], text[here], cross_attention_kwargs=ip_adapter_kwargs(stacked(row))
        ).sample
        assert torch.allclose(together[here], alone, atol=1e-4)
    assert torch.allclose(together[:1], without[:1], atol=1e-4)
    assert (together[2] - without[2]).abs().mean() > (together[1] - without[1]).abs().mean() / 2 > 0


@torch.inference_mode()
def test_a_picture_of_weight_nought_beside_another_is_not_heard(unet: Any, inputs: Any, tmp_path: Path) -> None:
    latents, text = inputs
    folder = make_adapter(tmp_path, unet)
    adapter = installed(unet, folder)
    one, other = adapter.tokens(pixels(1)), adapter.tokens(pixels(2))
    full = torch.ones(4, len(adapter.style_layers))
    alone = {"image": one, "image_scale": full}
    beside = {"image": torch.cat([one, other]), "image_scale": torch.cat([full, full * 0])}
    both = {"image": torch.cat([one, other]), "image_scale": torch.cat([full, full])}
    a, b, c = (
        unet(latents[:1], TIMES[:1], text[:1], cross_attention_kwargs=ip_adapter_kwargs(stacked(row))).sample
        for row in (alone, beside, both)
    )
    assert torch.allclose(a, b, atol=1e-4)
    assert (a - c).abs().max() > 1e-3


def test_the_look_is_made_in_some_layers_only(unet: Any, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path, unet)
    style_layers = installed(unet, folder).style_layers
    assert 0 < style_layers.sum() < len(style_layers)


def test_sdxl_makes_its_look_in_one_block() -> None:
    names = [f"{block}.transformer_blocks.0.attn2.processor" for block in (
        "down_blocks.2.attentions.1", "up_blocks.0.attentions.0", "up_blocks.0.attentions.1", "up_blocks.1.attentions.1"
    )]  # fmt: skip
    key = SimpleNamespace(to_k=SimpleNamespace(out_features=1, in_features=1))
    unet = SimpleNamespace(
        config=SimpleNamespace(addition_embed_type="text_time"), device=torch.device("cpu"), dtype=torch.float32,
        attn_processors=dict.fromkeys(names), get_submodule=lambda name: key,
    )  # fmt: skip
    assert AdapterTarget.of(unet).style_layers == (0, 0, 1, 0)


def test_an_adapter_of_another_model_is_refused_in_words(unet: Any, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path, unet)
    weights, encoder = shapes_of([folder / "adapter.safetensors"]), shapes_of(weights_of(folder / "image_encoder"))
    check_adapter(AdapterTarget.of(unet), weights, encoder)
    fewer = {name: shape for name, shape in weights.items() if not name.startswith("ip_adapter.1.")}
    wider = {name: (shape[0], 64) if "_ip" in name else shape for name, shape in weights.items()}
    with pytest.raises(ValueError, match="for another model"):
        check_adapter(AdapterTarget.of(unet), fewer, encoder)
    with pytest.raises(ValueError, match="different width"):
        check_adapter(AdapterTarget.of(unet), wider, encoder)


@pytest.mark.parametrize("plus", [False, True])
def test_an_adapter_of_another_encoder_is_refused_in_words(unet: Any, tmp_path: Path, plus: bool) -> None:
    folder = make_adapter(tmp_path, unet, plus=plus)
    weights, encoder = shapes_of([folder / "adapter.safetensors"]), shapes_of(weights_of(folder / "image_encoder"))
    check_adapter(AdapterTarget.of(unet), weights, encoder)
    other = {name: tuple(2 * side for side in shape) for name, shape in encoder.items()}
    with pytest.raises(ValueError, match="features, its encoder makes"):
        check_adapter(AdapterTarget.of(unet), weights, other)


@torch.inference_mode()
def test_a_model_without_pictures_answers_to_the_last_bit_as_before_there_was_an_adapter(
    unet: Any, inputs: Any, tmp_path: Path
) -> None:
    latents, text = inputs
    folder = make_adapter(tmp_path, unet)
    before, processors = unet(latents, TIMES, text).sample, dict(unet.attn_processors)
    adapter = installed(unet, folder)
    assert torch.equal(unet(latents, TIMES, text).sample, before)
    adapter.uninstall(unet)
    assert unet.attn_processors == processors
    assert torch.equal(unet(latents, TIMES, text).sample, before)
