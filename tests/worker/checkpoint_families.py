"""Makes random-weight checkpoints shaped like SDXL, FLUX and Stable Diffusion 3, small enough for milliseconds."""

from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from tests.worker.checkpoint import SCHEDULER, _tokenizer

WIDTH = 32  # of a text encoder


def text_encoder(kind: Any = CLIPTextModel, width: int = WIDTH, layers: int = 3, act: str = "quick_gelu") -> Any:
    """CLIP's, for the tokenizer of 514 tokens."""
    return kind(
        CLIPTextConfig(
            vocab_size=514, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
            num_attention_heads=2, max_position_embeddings=77, projection_dim=width, bos_token_id=512,
            eos_token_id=513, pad_token_id=513, hidden_act=act,
        )
    )  # fmt: skip


def autoencoder(channels: int = 4, **more: Any) -> Any:
    """Four levels: a latent's side stands for eight pixels."""
    vae = diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=channels, layers_per_block=1, norm_num_groups=8, sample_size=64,
        block_out_channels=(8, 16, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, **more,
    )  # fmt: skip
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(3)
    return vae


def make_sdxl(folder: Path, *, zeros: bool = True, seed: int = 0, **scheduler: Any) -> Path:
    """Two text encoders of unequal width, sizes as conditions, an autoencoder that asks for float32."""
    torch.manual_seed(seed)
    second = text_encoder(CLIPTextModelWithProjection, width=48, act="gelu")
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(16, 32, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=WIDTH + 48,
        attention_head_dim=(2, 4, 4), norm_num_groups=8, use_linear_projection=True,
        transformer_layers_per_block=(1, 1, 2), addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 48,
    )  # fmt: skip
    with torch.no_grad():
        unet.conv_out.weight.mul_(6)
    pipeline = diffusers.StableDiffusionXLPipeline(
        tokenizer=_tokenizer(), tokenizer_2=_tokenizer(), text_encoder=text_encoder(), text_encoder_2=second, unet=unet,
        vae=autoencoder(force_upcast=True, scaling_factor=0.13025), force_zeros_for_empty_prompt=zeros,
        scheduler=diffusers.EulerDiscreteScheduler.from_config({**SCHEDULER, **scheduler}),
    )  # fmt: skip
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def t5_tokenizer() -> Any:
    """Letters one by one."""
    pieces = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")]
    pieces += [("▁", -2.0), *((chr(sign), -3.0) for sign in range(ord("!"), ord("~") + 1))]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=512)


def t5(width: int) -> Any:
    """One layer of its encoder."""
    return T5EncoderModel(
        T5Config(
            vocab_size=128, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu"
        )
    )  # fmt: skip


def make_flux(folder: Path, *, guided: bool, seed: int = 0) -> Path:
    """dev's shape (`guided`) or schnell's."""
    torch.manual_seed(seed)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=24, pooled_projection_dim=WIDTH, guidance_embeds=guided, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    pipeline = diffusers.FluxPipeline(
        tokenizer=_tokenizer(), tokenizer_2=t5_tokenizer(), text_encoder=text_encoder(), text_encoder_2=t5(24),
        transformer=transformer, vae=autoencoder(4, shift_factor=0.1159, scaling_factor=0.3611),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=guided, shift=3.0 if guided else 1.0),
    )  # fmt: skip
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def make_sd3(folder: Path, seed: int = 0) -> Path:
    """Stable Diffusion 3: a pipeline that has no family here."""
    torch.manual_seed(seed)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64,
        pos_embed_max_size=16,
    )  # fmt: skip
    clip = [text_encoder(CLIPTextModelWithProjection), text_encoder(CLIPTextModelWithProjection, act="gelu")]
    pipeline = diffusers.StableDiffusion3Pipeline(
        tokenizer=_tokenizer(), tokenizer_2=_tokenizer(), tokenizer_3=t5_tokenizer(), text_encoder=clip[0],
        text_encoder_2=clip[1], text_encoder_3=t5(64), transformer=transformer, vae=autoencoder(4, shift_factor=0.06),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
