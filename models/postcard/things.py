"""The shapes of the things, as plain polygons in a square from -1 to 1 (y downwards).

A thing is a list of parts; each part has an outline of points and a role that says how it is painted: `main` in the
thing's colour, `dark` and `light` in shades of it, `ink` in the outline's colour. Knows no colours and no pixels.
"""

import math
from collections.abc import Callable

Point = tuple[float, float]
Part = tuple[str, list[Point]]


def ellipse(cx: float, cy: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> list[Point]:
    """An ellipse, or the arc of one, as points."""
    steps = max(8, round(abs(end - start) / 9))
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """A rectangle as points."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _star(points: int, outer: float, inner: float) -> list[Point]:
    turns = [(math.pi * i / points - math.pi / 2, inner if i % 2 else outer) for i in range(points * 2)]
    return [(r * math.cos(a), r * math.sin(a)) for a, r in turns]


def _heart() -> list[Point]:
    turns = [math.tau * i / 48 for i in range(48)]
    return [
        (
            0.95 * math.sin(t) ** 3,
            -0.06 - (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 17,
        )
        for t in turns
    ]


def circle() -> list[Part]:
    return [("main", ellipse(0, 0, 0.92, 0.92))]


def square() -> list[Part]:
    return [("main", box(-0.82, -0.82, 0.82, 0.82))]


def triangle() -> list[Part]:
    return [("main", [(0, -0.95), (1.0, 0.82), (-1.0, 0.82)])]


def star() -> list[Part]:
    return [("main", _star(5, 1.05, 0.45))]


def heart() -> list[Part]:
    return [("main", _heart())]


def house() -> list[Part]:
    return [
        ("main", box(-0.68, -0.2, 0.68, 0.9)),
        ("dark", [(-0.98, -0.15), (0, -1.0), (0.98, -0.15)]),
        ("ink", box(-0.18, 0.3, 0.18, 0.9)),
        ("light", box(-0.55, 0.08, -0.28, 0.36)),
        ("light", box(0.28, 0.08, 0.55, 0.36)),
    ]


def tree() -> list[Part]:
    return [
        ("dark", box(-0.15, 0.4, 0.15, 1.0)),
        ("main", [(0, -1.0), (0.52, -0.3), (-0.52, -0.3)]),
        ("main", [(0, -0.7), (0.68, 0.12), (-0.68, 0.12)]),
        ("main", [(0, -0.35), (0.85, 0.58), (-0.85, 0.58)]),
    ]


def boat() -> list[Part]:
    return [
        ("main", [(-1.0, 0.35), (1.0, 0.35), (0.62, 0.88), (-0.62, 0.88)]),
        ("dark", box(-0.07, -1.0, 0.05, 0.35)),
        ("main", [(0.12, -0.92), (0.85, 0.2), (0.12, 0.2)]),
        ("light", [(-0.14, -0.7), (-0.14, 0.2), (-0.7, 0.2)]),
    ]


def moon() -> list[Part]:
    return [("main", ellipse(0.05, 0, 0.95, 0.98, 55, 305) + ellipse(0.42, 0, 0.62, 0.8, 275, 85))]


def mountain() -> list[Part]:
    return [
        ("dark", [(-0.05, 0.8), (0.52, -0.4), (1.08, 0.8)]),
        ("main", [(-1.08, 0.8), (-0.22, -0.9), (0.62, 0.8)]),
        ("light", [(-0.53, -0.28), (-0.22, -0.9), (0.08, -0.28), (-0.1, -0.42), (-0.22, -0.2), (-0.37, -0.42)]),
    ]


def cat() -> list[Part]:
    return [
        ("main", [(-0.82, -0.98), (-0.15, -0.5), (-0.75, 0.05)]),
        ("main", [(0.82, -0.98), (0.15, -0.5), (0.75, 0.05)]),
        ("main", ellipse(0, 0.15, 0.88, 0.74)),
        ("ink", ellipse(-0.34, 0.0, 0.12, 0.17)),
        ("ink", ellipse(0.34, 0.0, 0.12, 0.17)),
        ("ink", [(-0.13, 0.28), (0.13, 0.28), (0, 0.44)]),
        ("ink", [(-0.95, 0.3), (-0.4, 0.36), (-0.95, 0.38)]),
        ("ink", [(0.95, 0.3), (0.4, 0.36), (0.95, 0.38)]),
    ]


def fish() -> list[Part]:
    return [
        ("dark", [(0.45, 0), (1.05, -0.55), (1.05, 0.55)]),
        ("dark", [(-0.25, -0.4), (0.1, -0.82), (0.35, -0.3)]),
        ("main", ellipse(-0.2, 0, 0.82, 0.52)),
        ("ink", ellipse(-0.62, -0.12, 0.1, 0.1)),
    ]


def flower() -> list[Part]:
    petals = [(0.45 * math.cos(a), -0.3 + 0.45 * math.sin(a)) for a in (math.tau * i / 6 for i in range(6))]
    parts: list[Part] = [("dark", box(-0.08, 0.1, 0.08, 1.05)), ("dark", ellipse(0.32, 0.78, 0.3, 0.13))]
    parts += [("main", ellipse(x, y, 0.3, 0.3)) for x, y in petals]
    return [*parts, ("light", ellipse(0, -0.3, 0.24, 0.24))]


def sun() -> list[Part]:
    rays: list[Part] = []
    for i in range(8):
        a = math.tau * i / 8
        tip = (1.05 * math.cos(a), 1.05 * math.sin(a))
        sides = [(0.62 * math.cos(a + d), 0.62 * math.sin(a + d)) for d in (-0.3, 0.3)]
        rays.append(("main", [tip, *sides]))
    return [*rays, ("light", ellipse(0, 0, 0.56, 0.56))]


def cloud() -> list[Part]:
    return [
        ("main", ellipse(-0.55, 0.15, 0.45, 0.42)),
        ("main", ellipse(0.58, 0.18, 0.42, 0.38)),
        ("main", ellipse(0.02, -0.15, 0.55, 0.55)),
        ("main", box(-0.6, 0.1, 0.6, 0.57)),
    ]


def bird() -> list[Part]:
    return [
        ("dark", [(0.4, 0.1), (1.05, -0.15), (1.0, 0.3)]),
        ("ink", [(-0.88, -0.42), (-1.12, -0.26), (-0.82, -0.22)]),
        ("main", ellipse(0.05, 0.2, 0.65, 0.46)),
        ("main", ellipse(-0.55, -0.32, 0.36, 0.36)),
        ("dark", [(-0.25, 0.05), (0.5, 0.0), (0.25, 0.45), (-0.05, 0.42)]),
        ("ink", ellipse(-0.65, -0.38, 0.09, 0.09)),
        ("ink", box(-0.1, 0.62, 0.0, 0.95)),
        ("ink", box(0.18, 0.62, 0.28, 0.95)),
    ]


def car() -> list[Part]:
    return [
        ("main", [(-0.55, -0.1), (-0.35, -0.6), (0.35, -0.6), (0.62, -0.1)]),
        ("main", box(-1.02, -0.12, 1.02, 0.4)),
        ("light", [(-0.4, -0.12), (-0.26, -0.46), (-0.03, -0.46), (-0.03, -0.12)]),
        ("light", [(0.08, -0.12), (0.08, -0.46), (0.28, -0.46), (0.46, -0.12)]),
        ("ink", ellipse(-0.55, 0.42, 0.25, 0.25)),
        ("ink", ellipse(0.55, 0.42, 0.25, 0.25)),
        ("light", ellipse(-0.55, 0.42, 0.1, 0.1)),
        ("light", ellipse(0.55, 0.42, 0.1, 0.1)),
    ]


def umbrella() -> list[Part]:
    return [
        ("dark", box(-0.06, -0.1, 0.06, 0.8)),
        ("dark", [*ellipse(0.2, 0.75, 0.26, 0.26, 0, 180), *ellipse(0.2, 0.75, 0.13, 0.13, 180, 0)]),
        ("main", ellipse(0, 0.05, 1.02, 1.0, 180, 360)),
        ("dark", [(0, -0.95), (0.36, 0.05), (-0.36, 0.05)]),
    ]


def mushroom() -> list[Part]:
    return [
        ("light", [(-0.26, 0.0), (0.26, 0.0), (0.36, 0.95), (-0.36, 0.95)]),
        ("main", ellipse(0, 0.12, 1.0, 1.0, 180, 360)),
        ("light", ellipse(-0.45, -0.3, 0.17, 0.15)),
        ("light", ellipse(0.12, -0.56, 0.18, 0.15)),
        ("light", ellipse(0.52, -0.2, 0.15, 0.13)),
    ]


def key() -> list[Part]:
    ring = [*ellipse(-0.55, 0, 0.45, 0.5, 0, 360), *ellipse(-0.55, 0, 0.18, 0.21, 360, 0)]
    return [
        ("main", box(-0.15, -0.13, 1.05, 0.13)),
        ("main", box(0.45, 0.1, 0.64, 0.48)),
        ("main", box(0.8, 0.1, 1.0, 0.55)),
        ("main", ring),
        ("hole", ellipse(-0.55, 0, 0.18, 0.21)),
    ]


def balloon() -> list[Part]:
    return [
        ("ink", box(-0.035, 0.5, 0.035, 1.15)),
        ("main", [(0, 0.4), (0.16, 0.7), (-0.16, 0.7)]),
        ("main", ellipse(0, -0.28, 0.68, 0.8)),
        ("light", ellipse(-0.28, -0.58, 0.13, 0.22)),
    ]


def cup() -> list[Part]:
    handle = [*ellipse(0.55, 0.0, 0.48, 0.42, -90, 90), *ellipse(0.55, 0.0, 0.24, 0.2, 90, -90)]
    return [
        ("dark", handle),
        ("main", [(-0.8, -0.6), (0.58, -0.6), (0.42, 0.75), (-0.64, 0.75)]),
        ("dark", ellipse(-0.11, -0.6, 0.69, 0.2)),
    ]


def crown() -> list[Part]:
    spikes = [(-0.9, 0.7), (-1.0, -0.5), (-0.48, 0.02), (0, -0.75), (0.48, 0.02), (1.0, -0.5), (0.9, 0.7)]
    return [
        ("main", spikes),
        ("dark", box(-0.9, 0.44, 0.9, 0.72)),
        ("light", ellipse(0, 0.2, 0.14, 0.14)),
        ("main", ellipse(-1.0, -0.52, 0.11, 0.11)),
        ("main", ellipse(0, -0.8, 0.12, 0.12)),
        ("main", ellipse(1.0, -0.52, 0.11, 0.11)),
    ]


def rocket() -> list[Part]:
    return [
        ("ink", [(-0.2, 0.6), (0.2, 0.6), (0, 1.12)]),
        ("dark", [(-0.3, 0.1), (-0.75, 0.75), (-0.28, 0.62)]),
        ("dark", [(0.3, 0.1), (0.75, 0.75), (0.28, 0.62)]),
        ("main", [(0, -1.1), (0.28, -0.65), (0.38, -0.1), (0.3, 0.65), (-0.3, 0.65), (-0.38, -0.1), (-0.28, -0.65)]),
        ("light", ellipse(0, -0.22, 0.19, 0.19)),
    ]


SHAPES: dict[str, Callable[[], list[Part]]] = {
    f.__name__: f
    for f in [
        *(circle, square, triangle, star, heart, house, tree, boat, moon, mountain, cat, fish),
        *(flower, sun, cloud, bird, car, umbrella, mushroom, key, balloon, cup, crown, rocket),
    ]
}
