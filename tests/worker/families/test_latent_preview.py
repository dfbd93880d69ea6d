"""Previews look like what will come, are small, and the newest wins."""

import threading

import numpy as np
import torch

from tests.worker.engine_driver import PATIENCE, pixels
from worker.checkpoints import LoadedCheckpoint
from worker.cuda_streams import FinishedCopy
from worker.engine.image_encoding import PreviewWriter, png, to_bytes
from worker.families import LatentPreview, preview_sheet
from worker.families.latent_preview import MAX_SIDE, synthetic_fields


def test_a_preview_is_near_the_decoders_picture_on_fields_that_were_not_fitted(loaded: LoadedCheckpoint) -> None:
    family = loaded.family
    with torch.inference_mode():
        latent_preview = LatentPreview.fit(family)
        errors, spreads = [], []
        for field in synthetic_fields(np.random.default_rng(99), 3, 64):
            latents = family.encode_picture(field)
            exact = to_bytes(family.decode(latents)).numpy().astype(int)
            rough = latent_preview.preview(latents[None])[0].numpy().repeat(4, 0).repeat(4, 1).astype(int)
            errors.append(np.abs(rough - exact).mean())
            spreads.append(np.abs(exact - exact.mean((0, 1))).mean())
    assert np.mean(errors) < np.mean(spreads), "better than one even colour"


def test_sheets_are_arranged_as_the_results_are_and_never_too_large() -> None:
    def size(count: int, width: int, height: int) -> tuple[int, int]:
        return preview_sheet(np.zeros((count, 8, 8, 3), np.uint8), (width, height)).size

    assert size(4, 256, 256) == (512, 512)
    assert size(4, 512, 512) == (512, 512)
    assert size(1, 256, 256) == (256, 256)
    assert size(2, 256, 256) == (512, 256)
    assert size(3, 64, 64) == (192, 64), "as the finished three lie"
    assert max(size(4, 1024, 576)) <= MAX_SIDE


def test_a_preview_that_cannot_be_written_is_left_out_and_the_next_one_comes() -> None:
    said = threading.Event()
    previewer = PreviewWriter(lambda job, attempt, jpeg: said.set())
    previewer.put("a", 1, FinishedCopy(torch.zeros(1, 8, 8, 9, dtype=torch.uint8)), (64, 64))
    previewer.put("b", 1, FinishedCopy(torch.zeros(1, 8, 8, 3, dtype=torch.uint8)), (64, 64))
    assert said.wait(PATIENCE)


def test_the_newest_preview_of_a_job_wins_while_the_writer_is_busy() -> None:
    first_is_out, go, all_said = threading.Event(), threading.Event(), threading.Event()
    said: list[tuple[str, int]] = []

    def send(job: str, attempt: int, jpeg: bytes) -> None:
        said.append((job, int(pixels(jpeg).mean())))
        if len(said) == 1:
            first_is_out.set()
            assert go.wait(PATIENCE)
        if len(said) == 3:
            all_said.set()

    previewer = PreviewWriter(send)
    grey = lambda value: torch.full((1, 8, 8, 3), value, dtype=torch.uint8)  # noqa: E731
    previewer.put("a", 1, FinishedCopy(grey(10)), (64, 64))
    assert first_is_out.wait(PATIENCE)
    for value in (20, 30, 40):
        previewer.put("a", 1, FinishedCopy(grey(value)), (64, 64))
    previewer.put("b", 1, FinishedCopy(grey(50)), (64, 64))
    go.set()
    assert all_said.wait(PATIENCE)
    assert sorted(said) == [("a", 10), ("a", 40), ("b", 50)]


def test_pngs_are_lossless() -> None:
    exact = np.random.default_rng(0).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    assert (pixels(png(exact)) == exact).all()
