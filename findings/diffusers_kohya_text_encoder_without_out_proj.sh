#!/usr/bin/env bash
# diffusers 0.42.1 drops attention layers of a kohya LoRA for a text encoder unless it trains out_proj too.
#
# The file is valid: q_proj and v_proj of attention, as "q and v only" trainings make them, alone or with fc1 and fc2 of
# the MLP, in kohya's names. Expected: every layer that the file has is loaded. Seen: diffusers tells the layout of the
# whole file by one name, `to_out_lora`, which only out_proj brings. Without it q and v alone raise a ValueError; beside
# fc1 and fc2 they are left out, no error is raised, and the picture has half of the LoRA's text encoder.
# With out_proj in the file all layers are loaded.
#
# Output seen (Python 3.11, CPU):
#   q, v: ValueError: Could not automatically infer state dict type
#   q, v, fc1, fc2: loaded fc1, fc2
#   q, v, out, fc1, fc2: loaded fc1, fc2, out, q, v
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 diffusers==0.42.1 peft==0.21.2 transformers==5.23.0 accelerate==1.15.0 safetensors==0.8.0
cat >"$folder/seen.py" <<'PYTHON'
import sys
import warnings

import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

warnings.simplefilter("ignore")
SIZES = {"self_attn_q_proj": (32, 32), "self_attn_v_proj": (32, 32), "self_attn_out_proj": (32, 32), "mlp_fc1": (32, 64),
         "mlp_fc2": (64, 32)}
SHORT = {name: name.removeprefix("self_attn_").removeprefix("mlp_").removesuffix("_proj") for name in SIZES}
CONFIG = CLIPTextConfig(vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                        max_position_embeddings=16, bos_token_id=98, eos_token_id=99, pad_token_id=99)


def parts(stem, inputs, outputs):
    return {f"{stem}.lora_down.weight": torch.ones(4, inputs), f"{stem}.lora_up.weight": torch.ones(outputs, 4),
            f"{stem}.alpha": torch.tensor(4.0)}


def loaded(names, path):
    tensors = parts("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", 32, 32)
    for name in names:
        tensors |= parts(f"lora_te_text_model_encoder_layers_0_{name}", *SIZES[name])
    save_file(tensors, path)
    encoder = CLIPTextModel(CONFIG)
    state, alphas = Loader.lora_state_dict(path)
    try:
        Loader.load_lora_into_text_encoder(state, network_alphas=alphas, text_encoder=encoder, adapter_name="x")
    except ValueError as error:
        return f"ValueError: {error}"
    found = [name.rsplit(".", 1)[-1].removesuffix("_proj") for name, part in encoder.named_modules() if hasattr(part, "lora_A")]
    return "loaded " + ", ".join(sorted(found))


for names in (("self_attn_q_proj", "self_attn_v_proj"), ("self_attn_q_proj", "self_attn_v_proj", "mlp_fc1", "mlp_fc2"),
              ("self_attn_q_proj", "self_attn_v_proj", "self_attn_out_proj", "mlp_fc1", "mlp_fc2")):
    print(f"{', '.join(SHORT[name] for name in names)}: {loaded(names, sys.argv[1])}")
PYTHON
seen=$("$folder/venv/bin/python" "$folder/seen.py" "$folder/lora.safetensors" 2>/dev/null)
expected='q, v: ValueError: Could not automatically infer state dict type
q, v, fc1, fc2: loaded fc1, fc2
q, v, out, fc1, fc2: loaded fc1, fc2, out, q, v'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "This is no longer so." >&2; exit 1; }
