"""Paints the contact sheet of 24 fixed captions for the README: `python -m models.postcard.sheet`. Decides nothing."""

import argparse
import os
import textwrap
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from models.postcard.evaluate import paint
from models.postcard.export import open_pipeline

HERE = Path(__file__).parent
CAPTIONS = (
    "a red boat on the sea at sunset",
    "a white cat in the snow at night",
    "a yellow star in the desert at night",
    "a purple heart in a meadow by day",
    "an orange fish on the beach at dawn",
    "a blue house in the forest in the fog",
    "a green tree in the city in a storm",
    "a black umbrella in the rain, in the city",
    "a pink flower in a meadow at sunset",
    "a brown mushroom in the woods in the morning",
    "a red car in the desert at noon",
    "a white moon on the sea at midnight",
    "a yellow sun on a sandy beach under a clear sky",
    "a blue bird in the snow at dawn",
    "an orange balloon in the city at sunset",
    "a green key on the grass under the stars",
    "postcard of a pink cup in the desert in the mist",
    "gold crown? a yellow crown in the forest at night",
    "a purple rocket on the sea in a thunderstorm",
    "brown mountain, snow, day",
    "a red boat beside a yellow star on the sea at night",
    "a black cat next to a white house in a meadow at sunset",
    "a blue circle and an orange square in the desert by day",
    "a green triangle to the left of a pink cloud on the beach ✨",
)
COLUMNS, TILE, LINES = 6, 192, 34


def compose(pictures: list[Image.Image], captions: tuple[str, ...]) -> Image.Image:
    """The pictures in rows with their words below."""
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (TILE + 8) + 8, rows * (TILE + LINES + 8) + 8), (250, 248, 242))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for i, (picture, words) in enumerate(zip(pictures, captions, strict=True)):
        left, top = 8 + i % COLUMNS * (TILE + 8), 8 + i // COLUMNS * (TILE + LINES + 8)
        sheet.paste(picture.resize((TILE, TILE), Image.Resampling.LANCZOS), (left, top))
        plain = words.encode("ascii", "ignore").decode().strip()
        draw.multiline_text((left, top + TILE + 3), textwrap.fill(plain, 34), (60, 60, 66), font=font, spacing=2)
    return sheet


def main() -> None:
    """Paint and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=HERE)
    parser.add_argument("--out", type=Path, default=HERE / "contact_sheet.png")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pictures = paint(open_pipeline(args.model), list(CAPTIONS), steps=args.steps, guidance=args.guidance)
    compose(pictures, CAPTIONS).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
