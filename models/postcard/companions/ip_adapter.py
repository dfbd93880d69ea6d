"""The image prompt adapter: reference pictures steer the frozen UNet through their embeddings, in the published format.

Four lessons are mixed: a picture from its own embedding alone, from two pictures of one thing each, from words with an
embedding that agrees, and from words with an embedding that only shares ground and sky. Knows embeddings, no labels.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor, IPAdapterAttnProcessor2_0
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from models.postcard.captions import caption
from models.postcard.companions.fitting import Course, fit, resume
from models.postcard.companions.frozen_model import frozen_model, loss_of
from models.postcard.companions.vision_model import VisionModel
from models.postcard.diffusers_internals import load_ip_adapter
from models.postcard.latents import Size, encode
from models.postcard.render import render
from models.postcard.team import Team
from models.postcard.text import WIDTH
from models.postcard.world import GROUNDS, SIZES, SKIES, Scene, draw_scene, is_held_out, training_scene

TOKENS, EMBED = 4, 128
BATCH, START, GROW = 16, 800, 1
NO_IMAGE, TWO_IMAGES, NO_WORDS, STYLE_ONLY = 0.1, 0.4, 0.5, 0.5
CHANCES = (16, 1, 1, 1, 1, 1, 1, 1, 1)  # of each size
FILE = "ip_adapter.safetensors"

Embed = Callable[[Sequence[Image.Image]], Tensor]


def layers(unet: UNet2DConditionModel) -> dict[int, str]:
    """Names of the cross attentions by the adapter's number for them: their place among all attentions."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    return {i: name for i, name in enumerate(names) if name.endswith("attn2")}


class Adapter(nn.Module):
    """What is learned: four tokens from an embedding, and a key and a value of them for each cross attention."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        modules = dict(unet.named_modules())
        found = {i: modules[name] for i, name in layers(unet).items()}
        self.proj = nn.Linear(EMBED, TOKENS * WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.keys = nn.ModuleDict({str(i): _like(layer.to_k) for i, layer in found.items()})
        self.values = nn.ModuleDict({str(i): _like(layer.to_v) for i, layer in found.items()})

    def tensors(self) -> dict[str, Tensor]:
        """By the published names."""
        found = {
            "image_proj.proj.weight": self.proj.weight,
            "image_proj.proj.bias": self.proj.bias,
            "image_proj.norm.weight": self.norm.weight,
            "image_proj.norm.bias": self.norm.bias,
        }
        for i, key in self.keys.items():
            found[f"ip_adapter.{i}.to_k_ip.weight"] = key.weight
            found[f"ip_adapter.{i}.to_v_ip.weight"] = self.values[i].weight
        return {name: tensor.detach().contiguous() for name, tensor in found.items()}

    @torch.no_grad()
    def read(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        for name in ("proj.weight", "proj.bias", "norm.weight", "norm.bias"):
            self.get_parameter(name).copy_(tensors[f"image_proj.{name}"])
        for i, key in self.keys.items():
            key.weight.copy_(tensors[f"ip_adapter.{i}.to_k_ip.weight"])
            self.values[i].weight.copy_(tensors[f"ip_adapter.{i}.to_v_ip.weight"])

    def hang(self, unet: UNet2DConditionModel) -> None:
        """Let the UNet attend to references by these very weights, as `load_ip_adapter` would by copies of them."""
        tensors = self.tensors()
        parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        load_ip_adapter(unet, parts)
        unet.encoder_hid_proj.image_projection_layers[0].image_embeds = self.proj
        unet.encoder_hid_proj.image_projection_layers[0].norm = self.norm
        for i, name in layers(unet).items():
            attention = unet.get_submodule(name)
            slow = _plain(attention.processor)
            slow.to_k_ip[0], slow.to_v_ip[0] = self.keys[str(i)], self.values[str(i)]
            attention.set_processor(slow)


def _like(layer: nn.Linear) -> nn.Linear:
    """A linear layer that starts as the text's."""
    copy = nn.Linear(layer.in_features, layer.out_features, bias=False)
    copy.weight.data.copy_(layer.weight.data)
    return copy


def _plain(processor: IPAdapterAttnProcessor2_0) -> IPAdapterAttnProcessor:
    """Without the fused attention, whose backward pass is the slower one on a CPU."""
    return IPAdapterAttnProcessor(processor.hidden_size, processor.cross_attention_dim, processor.num_tokens)


@dataclass(frozen=True, slots=True)
class Entry:
    """A scene's latents, and embeddings (each 128 wide) of pictures that have to do with it."""

    latents: Tensor
    scene: Scene
    same: Tensor  # two: of itself, and of another picture of the same
    place: Tensor  # of another thing on the same ground under the same sky
    single: Tensor  # two: of its things one by one; empty where it has not two


def alone(scene: Scene, i: int, rng: random.Random) -> Scene:
    """A picture of one of the two things only; its ground and sky are the scene's more often than not."""
    ground = scene.ground if rng.random() < 0.7 else rng.choice(GROUNDS)
    sky = scene.sky if rng.random() < 0.7 else rng.choice(SKIES)
    found = Scene(
        things=(scene.things[i],), ground=ground, sky=sky, size=rng.choice(SIZES[:3]), seed=rng.getrandbits(48)
    )
    return alone(scene, i, rng) if is_held_out(found) else found


def elsewhere(scene: Scene, rng: random.Random) -> Scene:
    """Another thing, or two, on the same ground under the same sky."""
    found = replace(draw_scene(rng, rng.choice(SIZES[:3])), ground=scene.ground, sky=scene.sky)
    return elsewhere(scene, rng) if is_held_out(found) else found


class References:
    """A growing pool of entries, handed out in batches of one size."""

    def __init__(self, encoder: Callable[[list[Scene]], Tensor], embed: Embed, rng: random.Random, limit: int) -> None:
        self._encode = encoder
        self._embed = embed
        self._rng = rng
        self._limit = limit
        self._kept: dict[Size, list[Entry]] = {}

    def grow(self, count: int, size: Size | None = None) -> None:
        """So many more scenes of one size."""
        rng = self._rng
        size = size or rng.choices(SIZES, CHANCES)[0]
        scenes = [training_scene(rng, size, rng.choices((0, 1, 2), (3, 57, 40))[0]) for _ in range(count)]
        wanted = [self._pictured(scene) for scene in scenes]
        embeddings = self._embed([render(s) for some in wanted for s in some]).split([len(some) for some in wanted])
        kept = self._kept.setdefault(size, [])
        for latents, scene, e in zip(self._encode(scenes), scenes, embeddings, strict=True):
            kept.append(Entry(latents.clone(), scene, e[:2].clone(), e[2].clone(), e[3:].clone()))
        del kept[: -self._limit]

    def _pictured(self, scene: Scene) -> list[Scene]:
        """What is drawn and embedded for one scene: itself, the same again, another thing there, its things alone."""
        rng = self._rng
        again = replace(scene, seed=rng.getrandbits(48), size=rng.choice(SIZES[:5]))
        singles = [alone(scene, i, rng) for i in range(2)] if len(scene.things) == 2 else []
        return [scene, again, elsewhere(scene, rng), *singles]

    def batch(self, count: int, size: Size) -> list[Entry]:
        """Entries of that size, or of the first where there are none yet."""
        return self._rng.choices(self._kept.get(size) or self._kept[SIZES[0]], k=count)


def lesson_of(entry: Entry, rng: random.Random) -> tuple[str, Tensor]:
    """Words and two embeddings (2, 128) for one picture; one reference given twice is the same as given once."""
    own = entry.same[rng.randrange(2)].expand(2, -1)
    if rng.random() < NO_IMAGE:
        words = "" if rng.random() < NO_WORDS else caption(entry.scene, rng)
        return words, torch.zeros(2, EMBED)
    if len(entry.scene.things) == 2 and rng.random() < TWO_IMAGES:
        words = "" if rng.random() < 0.8 else caption(entry.scene, rng, drop=0.3)
        return words, entry.single
    if rng.random() < NO_WORDS:
        return "", own
    if rng.random() < STYLE_ONLY:
        return caption(entry.scene, rng, drop=rng.choice((0.1, 0.8))), entry.place.expand(2, -1)
    return caption(entry.scene, rng), own


def train_ip_adapter(
    team: Team,
    folder: Path,
    vision: Path,
    minutes: float,
    lr: float,
    *,
    start: int = START,
    batch: int = BATCH,
) -> None:
    """Train for so many minutes on the embeddings of the network in the folder `vision`."""
    model = frozen_model()
    adapter = Adapter(model.unet)
    course = Course(path=folder / "ip_adapter.safetensors", minutes=minutes, lr=lr, decay=1e-2)
    average, step = resume(course, adapter)
    adapter.hang(model.unet)
    rng = random.Random(300 + step + 7919 * team.rank)
    same = random.Random(step)  # the members agree on the size of a batch, or they would wait for each other
    torch.manual_seed(300 + step + team.rank)
    pool = References(lambda scenes: encode(model.vae, scenes), VisionModel(vision).embed, rng, limit=8000)
    pool.grow(8, SIZES[0])
    for _ in range(start // (8 * team.size)):
        pool.grow(8)

    def lesson() -> Tensor:
        pool.grow(GROW)
        entries = pool.batch(batch // team.size, same.choices(SIZES, CHANCES)[0])
        words, embeddings = zip(*(lesson_of(entry, rng) for entry in entries), strict=True)
        latents = torch.stack([entry.latents for entry in entries])
        return loss_of(
            model,
            latents,
            [entry.scene for entry in entries],
            model.read(words),
            added_cond_kwargs={"image_embeds": [torch.stack(embeddings)]},
        )

    fit(team, course, adapter, average, step, lesson)


def ship_ip_adapter(folder: Path, out: Path) -> None:
    """Write the adapter from the checkpoint."""
    adapter = Adapter(frozen_model().unet)
    average, _ = resume(Course(path=folder / "ip_adapter.safetensors", minutes=0, lr=0), adapter)
    out.mkdir(parents=True, exist_ok=True)
    save_file(average.model.tensors(), out / FILE, metadata={"format": "pt"})
