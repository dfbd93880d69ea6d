"""Sizes of published models, and of any that there could be."""

from hypothesis import strategies as st

from worker.memory.offload_plan import ModelSizes

#: MB in bf16, by the models' published configs (benchmarks/gpu.py builds them).
SD15 = ModelSizes(
    text=235, denoiser=1640, autoencoder=160, block=46, row=184, decode=671, decode_tiled=671, layer=73
)  # fmt: skip
SDXL = ModelSizes(
    text=1560, denoiser=4897, autoencoder=160, block=46, row=700, decode=2600, decode_tiled=660, layer=130
)
FLUX = ModelSizes(
    text=9318, denoiser=22700, autoencoder=160, block=650, row=400, decode=2600, decode_tiled=660, layer=260
)

MB = st.integers(1, 40_000)
SIZES = st.builds(
    lambda text, denoiser, autoencoder, parts, row, decode, tiles: ModelSizes(
        text=text, denoiser=denoiser, autoencoder=autoencoder, block=max(1, denoiser // parts), row=row, decode=decode,
        decode_tiled=max(1, decode // tiles), layer=max(1, (text + autoencoder) // (4 * parts)),
    ),
    MB, MB, st.integers(1, 2000), st.integers(1, 60), st.integers(1, 2000), st.integers(1, 8000), st.integers(1, 8),
)  # fmt: skip
MEMORY = st.integers(1024, 200_000)
