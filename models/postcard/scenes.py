"""The background of a postcard: a sky above the horizon and a ground below it. Knows nothing of the things."""

import random

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

SKY: dict[str, tuple[Colour, Colour]] = {
    "day": ((72, 164, 240), (190, 228, 250)),
    "night": ((10, 14, 48), (40, 48, 104)),
    "sunset": ((110, 44, 116), (255, 150, 60)),
    "storm": ((52, 58, 70), (112, 118, 128)),
    "dawn": ((176, 168, 226), (255, 218, 206)),
    "fog": ((222, 224, 224), (202, 206, 208)),
}
LIGHT = {"day": 1.0, "night": 0.62, "sunset": 0.86, "storm": 0.74, "dawn": 0.95, "fog": 0.92}
GROUND: dict[str, tuple[Colour, Colour]] = {
    "sea": ((60, 150, 200), (16, 74, 140)),
    "desert": ((236, 184, 104), (206, 130, 58)),
    "meadow": ((140, 200, 80), (62, 140, 50)),
    "snow": ((246, 250, 255), (206, 222, 240)),
    "city": ((120, 120, 126), (84, 84, 92)),
    "forest": ((70, 110, 58), (40, 72, 40)),
    "beach": ((250, 228, 170), (234, 200, 132)),
}


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """The colour between two, `t` of the way."""
    return tuple(round(x + (y - x) * t) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def dim(colour: Colour, light: float) -> Colour:
    """A colour of the ground in less light, a little bluer."""
    r, g, b = colour
    return round(r * light), round(g * light), min(255, round(b * (light + 0.3 * (1 - light))))


def gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """A vertical blend of two colours."""
    width, height = size
    strip = Image.new("RGB", (1, 64))
    strip.putdata([mix(top, bottom, i / 63) for i in range(64)])
    return strip.resize((width, max(1, height)), Image.Resampling.BILINEAR)


def paint_sky(image: Image.Image, name: str, horizon: int, rng: random.Random, unit: float) -> None:
    """Fill everything above the horizon; `unit` is the picture's short side in pixels."""
    width = image.width
    image.paste(gradient((width, horizon), *SKY[name]), (0, 0))
    draw = ImageDraw.Draw(image)
    if name == "day":
        for _ in range(3):
            _puff(draw, rng.random() * width, rng.uniform(0.08, 0.5) * horizon, unit * rng.uniform(0.05, 0.08))
    elif name == "night":
        for _ in range(round(26 * width / unit)):
            _dot(draw, rng.random() * width, rng.random() * horizon * 0.95, unit * 0.008, (255, 255, 220))
    elif name == "sunset":
        _dot(draw, rng.uniform(0.15, 0.85) * width, horizon, unit * 0.16, (255, 224, 120))
    elif name == "storm":
        _rain(draw, width, horizon, rng, unit)
    elif name == "fog":
        for i in range(3):
            y = horizon * (0.25 + 0.25 * i)
            draw.rectangle((0, y, width, y + unit * 0.045), fill=(238, 240, 240))


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, fill: Colour) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def _puff(draw: ImageDraw.ImageDraw, x: float, y: float, r: float) -> None:
    for dx, dy, k in ((-1.2, 0.25, 0.7), (0, 0, 1.0), (1.2, 0.25, 0.7)):
        _dot(draw, x + dx * r, y + dy * r, r * k, (240, 248, 255))


def _rain(draw: ImageDraw.ImageDraw, width: int, horizon: int, rng: random.Random, unit: float) -> None:
    for _ in range(round(30 * width / unit)):
        x, y = rng.random() * width, rng.random() * horizon
        draw.line((x, y, x - unit * 0.02, y + unit * 0.06), fill=(150, 162, 178), width=max(1, round(unit * 0.008)))
    x = rng.uniform(0.1, 0.9) * width
    steps = ((0, 0), (-0.04, 0.3), (0.02, 0.3), (-0.04, 0.62))
    bolt = [(x + dx * unit, y * horizon) for dx, y in steps]
    draw.line(bolt, fill=(255, 246, 160), width=max(1, round(unit * 0.02)), joint="curve")


def paint_ground(image: Image.Image, name: str, sky: str, horizon: int, rng: random.Random, unit: float) -> None:
    """Fill everything below the horizon in the light of that sky."""
    light = LIGHT[sky]
    top, bottom = (dim(c, light) for c in GROUND[name])
    image.paste(gradient((image.width, image.height - horizon), top, bottom), (0, horizon))
    PAINTERS[name](ImageDraw.Draw(image), (image.width, image.height), horizon, rng, unit, light)


def _sea(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: random.Random, unit: float, light: float
) -> None:
    foam = dim((214, 238, 250), light)
    for _ in range(round(16 * size[0] / unit)):
        x, y = rng.random() * size[0], rng.uniform(horizon + unit * 0.03, size[1])
        w = unit * rng.uniform(0.04, 0.09)
        draw.line((x - w, y, x + w, y), fill=foam, width=max(1, round(unit * 0.01)))


def _desert(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: random.Random, unit: float, light: float
) -> None:
    width = size[0]
    for i, shade in enumerate(((228, 166, 84), (214, 144, 66))):
        y, r = horizon + (0.14 + 0.16 * i) * unit, unit * rng.uniform(0.5, 0.8)
        x = rng.random() * width
        draw.chord((x - 2 * r, y, x + 2 * r, y + 2 * r), 180, 360, fill=dim(shade, light))
    green, w = dim((70, 130, 60), light), unit * 0.016
    for _ in range(round(2 * width / unit)):
        x, y, h = rng.random() * width, horizon + unit * 0.03, unit * rng.uniform(0.1, 0.14)
        draw.rectangle((x - w, y - h, x + w, y), fill=green)
        draw.rectangle((x - 3.6 * w, y - h * 0.6, x + 3.6 * w, y - h * 0.6 + 1.6 * w), fill=green)
        draw.rectangle((x - 3.6 * w, y - h * 0.85, x - 2.2 * w, y - h * 0.5), fill=green)
        draw.rectangle((x + 2.2 * w, y - h * 0.85, x + 3.6 * w, y - h * 0.5), fill=green)


def _meadow(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: random.Random, unit: float, light: float
) -> None:
    width, height = size
    x, r = rng.random() * width, unit * 0.55
    hill = (x - 2 * r, horizon - 0.07 * unit, x + 2 * r, horizon + 2 * r)
    draw.chord(hill, 180, 360, fill=dim((126, 188, 72), light))
    for i in range(round(22 * width / unit)):
        x, y = rng.random() * width, rng.uniform(horizon + unit * 0.04, height)
        fill = dim(((255, 255, 240), (250, 220, 90), (96, 168, 56))[i % 3], light)
        _dot(draw, x, y, unit * 0.012, fill)


def _snow(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: random.Random, unit: float, light: float
) -> None:
    width = size[0]
    for i, shade in enumerate(((232, 242, 252), (218, 232, 248))):
        x, y, r = rng.random() * width, horizon + (0.2 * i - 0.06) * unit, unit * 0.6
        draw.chord((x - 2 * r, y, x + 2 * r, y + 2 * r), 180, 360, fill=dim(shade, light))
    for _ in range(round(18 * width / unit)):
        _dot(draw, rng.random() * width, rng.random() * horizon, unit * 0.01, (255, 255, 255))


def _city(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: random.Random, unit: float, light: float
) -> None:
    width, height = size
    x = -unit * 0.05 * rng.random()
    while x < width:
        w, h = unit * rng.uniform(0.1, 0.17), unit * rng.uniform(0.1, 0.3)
        wall = dim(rng.choice(((112, 104, 112), (92, 96, 116), (130, 116, 108))), light)
        draw.rectangle((x, horizon - h, x + w, horizon), fill=wall)
        pane = (250, 226, 140)
        for wx in (0.22, 0.6):
            for wy in range(int(h / (unit * 0.07))):
                left, top = x + w * wx, horizon - h + unit * (0.022 + 0.07 * wy)
                draw.rectangle((left, top, left + w * 0.2, top + unit * 0.03), fill=pane)
        x += w
    stripe, y = dim((236, 236, 220), light), (horizon + height) / 2
    for i in range(round(5 * width / unit)):
        x = (i + 0.2) * unit * 0.22
        draw.rectangle((x, y, x + unit * 0.12, y + unit * 0.025), fill=stripe)


def _forest(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: random.Random, unit: float, light: float
) -> None:
    x = 0.0
    while x < size[0] + unit * 0.05:
        h, w = unit * rng.uniform(0.18, 0.3), unit * rng.uniform(0.05, 0.075)
        fill = dim(rng.choice(((30, 76, 44), (40, 92, 50), (24, 62, 40))), light)
        draw.polygon([(x - w, horizon + 2), (x, horizon - h), (x + w, horizon + 2)], fill=fill)
        x += w * 1.2


def _beach(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, rng: random.Random, unit: float, light: float
) -> None:
    width, height = size
    shore = horizon + unit * 0.14
    draw.rectangle((0, horizon, width, shore), fill=dim((44, 150, 200), light))
    draw.rectangle((0, shore, width, shore + unit * 0.022), fill=dim((250, 252, 255), light))
    for i in range(round(8 * width / unit)):
        x, y = rng.random() * width, rng.uniform(shore + unit * 0.06, height)
        _dot(draw, x, y, unit * 0.013, dim(((240, 150, 130), (255, 250, 235))[i % 2], light))


PAINTERS = {
    "sea": _sea, "desert": _desert, "meadow": _meadow, "snow": _snow, "city": _city, "forest": _forest, "beach": _beach
}  # fmt: skip
