"""What training uses of diffusers although diffusers does not promise it. Tried with diffusers 0.42."""

from collections.abc import Mapping

from diffusers import UNet2DConditionModel
from torch import Tensor


def load_ip_adapter(unet: UNet2DConditionModel, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
    """As a pipeline's `load_ip_adapter` does it, which takes files only."""
    unet._load_ip_adapter_weights([weights], low_cpu_mem_usage=False)
