"""The vision network: a small CLIP vision tower that says in labels what a postcard shows, and embeds it.

One checkpoint, two standard readings: `CLIPForImageClassification` (labels) and `CLIPVisionModelWithProjection`
(image_embeds). Knows nothing of diffusion.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from models.postcard.checkpoints import Average
from models.postcard.companions.fitting import Course, fit, resume
from models.postcard.companions.labels import GROUPS, LABELS, spans
from models.postcard.companions.thumbnails import SIDE, Thumbnails
from models.postcard.team import Team

PATCH, WIDTH, LAYERS, HEADS, EMBED = 16, 128, 6, 4, 128
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # those of all CLIP networks
PALETTE = 12  # mean colours of three bands, and how much each channel varies
BATCH, START, GROW = 64, 1000, 2


def new_config() -> CLIPVisionConfig:
    """64 patches of 16 pixels, six layers."""
    return CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH * 4,
        projection_dim=EMBED,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        image_size=SIDE,
        patch_size=PATCH,
        hidden_act="gelu",
        attn_implementation="eager",
    )


def places_as_waves(side: int, width: int) -> Tensor:
    """(1 + side * side, width): sines and cosines of row and column; a network starts out knowing who is near."""
    quarter = width // 4
    speeds = math.pi / 2 * (2.0 / side) ** (torch.arange(quarter) / quarter)
    at = torch.arange(side)[:, None] * speeds
    waves = torch.cat([at.sin(), at.cos()], 1)
    rows, columns = waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)
    grid = torch.cat([rows, columns], 2).reshape(side * side, width)
    return torch.cat([torch.zeros(1, width), grid])


class Viewer(nn.Module):
    """The network and all that asks it questions; only the network and its classifier are shipped."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = CLIPVisionModelWithProjection(new_config())
        self.classifier = nn.Linear(WIDTH, len(LABELS))
        self.told = nn.Linear(EMBED, len(LABELS) + PALETTE)
        self.cells = nn.Linear(WIDTH, len(GROUPS["thing"]) + len(GROUPS["colour"]))
        with torch.no_grad():
            places = self.clip.vision_model.embeddings.position_embedding.weight
            places.copy_(places_as_waves(SIDE // PATCH, WIDTH) * 0.5)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures in 0..1 to label scores, what the embedding alone tells, and what each patch shows."""
        out = self.clip((pictures - self.mean) / self.std)
        patches = out.last_hidden_state[:, 1:]
        return self.classifier(patches.mean(1)), self.told(out.image_embeds), self.cells(patches)


def palette(pictures: Tensor) -> Tensor:
    """(count, 12): the mean colours of three bands from top to bottom, and each channel's deviation."""
    bands = F.adaptive_avg_pool2d(pictures, (3, 1)).flatten(1)
    return torch.cat([bands, pictures.std((2, 3))], 1)


def answers_loss(scores: Tensor, words: Tensor) -> Tensor:
    """One choice in each group, and each label for itself, so that a label's score alone means something too."""
    groups = [F.cross_entropy(scores[:, span], words[:, i]) for i, span in enumerate(spans().values())]
    wanted = torch.cat([F.one_hot(words[:, i], len(names)) for i, names in enumerate(GROUPS.values())], 1)
    alone = F.binary_cross_entropy_with_logits(scores, wanted.float())
    return torch.stack(groups).sum() + 4 * alone


def loss_of(viewer: Viewer, pool: Thumbnails, count: int) -> Tensor:
    """All questions about one batch of pictures."""
    lesson = pool.lesson(count)
    with torch.autocast("cpu", torch.bfloat16):
        scores, told, cells = viewer(lesson.pictures)
    told = told.float()
    kinds, colours = cells.float().split([len(GROUPS["thing"]), len(GROUPS["colour"])], 2)
    seen = lesson.cells.flatten(1, 2)
    local = F.cross_entropy(kinds.flatten(0, 1), seen[..., 0].flatten()) + F.cross_entropy(
        colours.flatten(0, 1), seen[..., 1].flatten()
    )
    tint = F.mse_loss(told[:, len(LABELS) :], palette(lesson.pictures))
    return (
        answers_loss(scores.float(), lesson.words)
        + answers_loss(told[:, : len(LABELS)], lesson.words)
        + 2 * local
        + 10 * tint
    )


def train_vision(
    team: Team, folder: Path, vae: AutoencoderKL, minutes: float, lr: float, *, start: int = START, batch: int = BATCH
) -> None:
    """Train for so many minutes; each member of the team draws its own pictures."""
    viewer = Viewer()
    course = Course(path=folder / "vision.safetensors", minutes=minutes, lr=lr, decay=0.03)
    average, step = resume(course, viewer)
    pool = Thumbnails(vae, 500 + step + 7919 * team.rank)
    pool.grow(start // team.size)

    def lesson() -> Tensor:
        pool.grow(GROW)
        return loss_of(viewer, pool, batch // team.size)

    fit(team, course, viewer, average, step, lesson)


def trained(folder: Path) -> Viewer:
    """The running average that training kept."""
    viewer = Viewer()
    average: Average = resume(Course(path=folder / "vision.safetensors", minutes=0, lr=0), viewer)[0]
    return average.model


def ship_vision(folder: Path, out: Path) -> None:
    """Write the checkpoint's average as one model for both standard classes, with its preprocessor."""
    viewer = trained(folder)
    tensors = {name: tensor for name, tensor in viewer.clip.state_dict().items() if not name.endswith("position_ids")}
    tensors |= {f"classifier.{name}": tensor for name, tensor in viewer.classifier.state_dict().items()}
    out.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        out / "model.safetensors",
        metadata={"format": "pt"},
    )
    config = CLIPConfig(
        vision_config=viewer.clip.config.to_dict(),
        projection_dim=EMBED,
        architectures=["CLIPForImageClassification"],
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        problem_type="multi_label_classification",
        dtype="float32",
    )
    config.save_pretrained(out)
    CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE},
        do_center_crop=False,
        resample=3,
        image_mean=list(MEAN),
        image_std=list(STD),
    ).save_pretrained(out)
