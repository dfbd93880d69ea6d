"""A pipeline without a family of its own runs whole, step by step: the same pictures, previews, turns, and an end."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import numpy as np
import pytest
import torch

from core.events import Done, Started
from core.job import HouseStyle
from tests.worker.checkpoint_families import make_sd3
from tests.worker.compared import distance, plain
from tests.worker.engine_driver import EngineDriver, request
from tests.worker.families.other_pipelines import flux2
from worker.checkpoints import LoadedCheckpoint, load
from worker.device import choose_device
from worker.engine import LoadedModel
from worker.errors import CannotLoad
from worker.families import GenericPipeline
from worker.interfaces import Adaptation, GenerationRun, PipelineModel
from worker.memory import plan_for_model
from worker.memory.size_estimate import estimate_sizes

CPU = choose_device("cpu", "float32", 0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Stable Diffusion 3."""
    return make_sd3(tmp_path_factory.mktemp("any") / "tiny-3")


@pytest.fixture(scope="module")
def model(tiny: Path) -> LoadedCheckpoint:
    """It, loaded; two pictures a call."""
    return load(str(tiny), choose_device("cpu", "float32", 2))


@pytest.fixture
def whole(model: LoadedCheckpoint) -> PipelineModel:
    """Its family."""
    assert isinstance(model.family, PipelineModel)
    return model.family


def finished(run: GenerationRun) -> list[np.ndarray]:
    while run.done < run.steps:
        run.advance()
    return [np.round(image.permute(1, 2, 0).numpy() * 255).astype(int) for image in run.pictures()]


@pytest.mark.parametrize("negative", ["", "a yellow star"])
def test_it_makes_what_the_pipeline_makes(whole: PipelineModel, tiny: Path, negative: str) -> None:
    wanted = request(negative=negative, steps=4)
    pipeline = diffusers.StableDiffusion3Pipeline.from_pretrained(tiny)
    pictures = finished(whole.begin(wanted, (0, 1, 3), 2))
    for index, picture in zip((0, 1, 3), pictures, strict=True):
        assert distance(picture, plain(pipeline, wanted, index)) <= 2
    assert distance(pictures[0], pictures[1]) > 8


def test_each_step_is_one_turn(whole: PipelineModel) -> None:
    forwards: list[int] = []
    hook = whole.parts["transformer"].register_forward_hook(lambda *_: forwards.append(1))
    run = whole.begin(request(steps=3), (0, 1, 2), 2)
    counts = []
    while run.done < run.steps:
        run.advance()
        counts.append((run.done, len(forwards), len(run.pictures())))
    hook.remove()
    assert run.steps == 6, "three pictures are two calls"
    assert counts == [(1, 1, 0), (2, 2, 0), (3, 3, 2), (4, 4, 2), (5, 5, 2), (6, 6, 3)]
    run.advance()
    assert run.done == 6


def test_runs_take_turns_and_do_not_mix(whole: PipelineModel) -> None:
    one, other = request(steps=3), request(steps=5, prompt="a yellow star", seed=9)
    alone = [finished(whole.begin(wanted, (0,), 2))[0] for wanted in (one, other)]
    runs = [whole.begin(wanted, (0,), 2) for wanted in (one, other)]
    for _ in range(3):
        for run in runs:
            run.advance()
    assert [distance(finished(run)[0], picture) for run, picture in zip(runs, alone, strict=True)] == [0, 0]


def test_a_preview_is_a_small_picture_of_each_from_the_second_step_on(whole: PipelineModel) -> None:
    run = whole.begin(request(steps=4), (0, 1), 2)
    assert run.preview() is None
    run.advance()
    assert run.preview() is None, "a straight line needs two points"
    run.advance()
    preview = run.preview()
    assert preview is not None
    assert (preview.shape, preview.dtype) == ((2, 16, 16, 3), torch.uint8)
    finished(run)
    assert run.preview() is None, "the pictures themselves are there"


def test_what_a_preview_is_drawn_from_comes_ever_nearer_to_the_picture(
    whole: PipelineModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole._draft_preview, "preview", lambda latents, size: latents)
    run = whole.begin(request(steps=10), (0,), 2)
    guesses = []
    for _ in range(9):
        run.advance()
        guesses.append(run.preview())
    finished(run)
    decode = whole._draft_preview._coder.decode
    pictures = [decode(guess[0]) for guess in guesses if guess is not None]
    errors = [float((picture - run.pictures()[0]).abs().mean()) for picture in pictures]
    assert errors[-1] < errors[0] / 3
    assert errors[-1] < 0.02


def test_it_can_be_left_at_any_step(whole: PipelineModel) -> None:
    before = set(threading.enumerate())
    for steps in (0, 1, 3):
        run = whole.begin(request(steps=3), (0,), 2)
        for _ in range(steps):
            run.advance()
        run.close()
        run.close()
    assert not set(threading.enumerate()) - before


def test_what_the_pipeline_raises_is_raised_here(whole: PipelineModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    run = whole.begin(request(steps=3), (0,), 2)
    run.advance()
    monkeypatch.setattr(whole.parts["transformer"], "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        run.advance()
    run.close()


def test_it_says_what_it_is(model: LoadedCheckpoint) -> None:
    info = model.info
    assert (info.family, info.native, info.multiple, info.steps, info.guidance) == ("any", 64, 32, 28, 7.0)
    assert info.samplers == (info.sampler,)
    assert set(info.edits) == {"negative", "preview"}
    assert model.memory_mb >= 1


@pytest.mark.parametrize(("name", "usual"), [("tiny-3-large-turbo", (4, 0.0)), ("hyperreal-3", (28, 7.0))])
def test_one_that_was_taught_few_steps_says_so_in_its_name_and_is_not_guided(
    tiny: Path, tmp_path: Path, name: str, usual: tuple[int, float]
) -> None:
    (tmp_path / name).symlink_to(tiny)
    loaded = load(str(tmp_path / name), CPU)
    assert (loaded.info.steps, loaded.info.guidance) == usual
    forwards: list[int] = []
    hook = loaded.family.parts["transformer"].register_forward_hook(
        lambda _part, _given, out: forwards.append(len(out[0]))
    )
    finished(loaded.family.begin(request(steps=2, guidance=loaded.info.guidance), (0,), 1))
    hook.remove()
    assert forwards == [1 if usual[1] == 0 else 2] * 2


@pytest.mark.parametrize(("embeds", "usual"), [(False, (4, 0.0)), (True, (4, 4.0))])
def test_one_whose_index_calls_it_distilled_takes_few_steps_and_guidance_only_as_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embeds: bool, usual: tuple[int, float]
) -> None:
    pipeline, _ = flux2(guidance_embeds=embeds, is_distilled=True)
    whole = GenericPipeline(pipeline, torch.device("cpu"))
    monkeypatch.setattr(GenericPipeline, "load", lambda *_: whole)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "Flux2KleinPipeline"}))
    info = load(str(tmp_path), CPU).info
    assert (info.steps, info.guidance) == usual


@pytest.mark.parametrize("count", [1, 3])
def test_a_scheduler_that_takes_more_steps_than_asked_gets_to_the_pictures_all_the_same(
    tiny: Path, tmp_path: Path, count: int
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "heun"))
    diffusers.FlowMatchHeunDiscreteScheduler(shift=3.0).save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "FlowMatchHeunDiscreteScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    loaded = load(str(folder), CPU)
    run = loaded.family.begin(request(steps=4), range(count), 2)
    counts = []
    while run.done < run.steps:
        run.advance()
        counts.append(run.done)
    assert len(run.pictures()) == count
    assert len(counts) == 7 * -(-count // 2), "each of its steps is a turn"
    assert counts == sorted(counts)
    wanted = request(steps=4, sampler="own", count=count)
    assert len(EngineDriver(loaded, rows=2).render(wanted)) == count


def test_a_pipeline_that_takes_fewer_steps_than_asked_is_done_when_its_pictures_are_there(
    whole: PipelineModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = diffusers.FlowMatchEulerDiscreteScheduler.set_timesteps
    monkeypatch.setattr(
        diffusers.FlowMatchEulerDiscreteScheduler,
        "set_timesteps",
        lambda self, steps, **how: plain(self, steps - 2, **how),
    )
    run = whole.begin(request(steps=5), (0,), 2)
    counts = []
    while run.done < run.steps:
        run.advance()
        counts.append(run.done)
    assert (counts, len(run.pictures())) == ([1, 3, 5], 1)


def test_a_pipeline_that_works_on_pixels_has_the_size_of_its_network() -> None:
    unet = diffusers.UNet2DConditionModel(
        sample_size=64, in_channels=3, out_channels=6, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
    )  # fmt: skip
    pipeline = diffusers.IFPipeline(
        tokenizer=None, text_encoder=None, unet=unet, scheduler=diffusers.DDPMScheduler(), safety_checker=None,
        feature_extractor=None, watermarker=None, requires_safety_checker=False,
    )  # fmt: skip
    model = GenericPipeline(pipeline, torch.device("cpu"))
    assert (model.native, model.factor, model.multiple) == (64, 1, 16)


@pytest.mark.parametrize("changes", [{"strength": 0.5}, {"width": 72}])
def test_what_it_cannot_do_is_said(whole: PipelineModel, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"alone\.|multiples of 32"):
        whole.begin(request(**changes), (0,), 2)
    for adaptation in (Adaptation(tile=True), Adaptation(loras=(("a", 1.0),))):
        with pytest.raises(LookupError, match="This model"):
            whole.adapt(adaptation)
    whole.adapt(Adaptation())


def test_a_family_that_shares_forwards_is_not_whole(loaded: LoadedCheckpoint) -> None:
    assert not isinstance(loaded.family, PipelineModel)


def test_other_pipelines_are_refused_in_a_sentence(tiny: Path, tmp_path: Path) -> None:
    index = json.loads((tiny / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps({**index, "_class_name": "AudioLDM2Pipeline"}))
    with pytest.raises(CannotLoad, match="makes pictures from words"):
        load(str(tmp_path), CPU)


def test_pipelines_are_asked_in_their_own_words() -> None:
    takes = {"prompt", "true_cfg_scale", "guidance_scale", "negative_prompt", "num_inference_steps", "generator"}

    class Qwen:
        """Takes what QwenImagePipeline takes."""

        components: ClassVar[dict[str, Any]] = {}
        vae_scale_factor = 8
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler()

        def __call__(
            self, prompt: Any = None, negative_prompt: Any = None, true_cfg_scale: float = 4.0,
            num_inference_steps: int = 50, guidance_scale: Any = None, generator: Any = None,
        ) -> None:  # fmt: skip
            pass

    model = GenericPipeline(Qwen(), torch.device("cpu"))
    call = model._call(request(guidance=3.0), (0, 1))
    assert set(call) <= takes
    assert (call["true_cfg_scale"], call["negative_prompt"], len(call["generator"])) == (3.0, " ", 2)
    assert "guidance_scale" not in call
    assert (model.steps, model.scale, model.native) == (50, 4.0, 1024)
    assert "negative_prompt" not in model._call(request(guidance=0.0), (0,)), "no guidance wants no second prompt"


def test_it_is_tried_out_with_one_step_and_one_decode_and_leaves_nothing_running(
    model: LoadedCheckpoint, whole: PipelineModel
) -> None:
    seen: list[str] = []
    parts = {"step": whole.parts["transformer"], "decode": whole.parts["vae"].decoder}
    hooks = [part.register_forward_hook(lambda *_, name=name: seen.append(name)) for name, part in parts.items()]
    before = set(threading.enumerate())
    LoadedModel.of(model, CPU)
    for hook in hooks:
        hook.remove()
    assert seen == ["step", "decode"] and not set(threading.enumerate()) - before


def test_a_pipeline_that_cannot_take_a_step_is_found_out_before_it_serves(
    model: LoadedCheckpoint, whole: PipelineModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    before = set(threading.enumerate())
    monkeypatch.setattr(whole.parts["transformer"], "forward", breaks)
    with pytest.raises(CannotLoad, match=r"^tiny-3 could be loaded, but .*multiplied"):
        LoadedModel.of(model, CPU)
    assert not set(threading.enumerate()) - before


def test_pictures_of_one_call_are_decoded_one_by_one(whole: PipelineModel) -> None:
    seen: list[int] = []
    hook = whole.parts["vae"].decoder.register_forward_hook(lambda _part, given, _out: seen.append(len(given[0])))
    finished(whole.begin(request(steps=2), (0, 1), 2))
    hook.remove()
    assert seen == [1, 1]


def test_memory_is_planned_for_a_second_forward_that_a_pipeline_may_take(whole: PipelineModel) -> None:
    gpu = replace(choose_device("cpu", "float32", 0), torch_device=torch.device("cuda"), memory_mb=24_000)
    how: dict[str, Any] = {"native": 1024, "factor": whole.factor}
    classifier_free, once = (
        estimate_sizes(whole.parts, classifier_free=classifier_free, **how).row for classifier_free in (True, False)
    )
    seen: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.memory.placement.other_programs_mb", lambda _device: 0)
        patch.setattr("worker.memory.placement.plan_beside_models", lambda found, *_, **__: seen.append(found.row))
        patch.setattr(whole, "native", 1024)
        plan_for_model(whole, gpu, "full", "tiny-3")
    assert seen == [classifier_free] and classifier_free > once


@pytest.fixture
def narrow(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> EngineDriver:
    """An engine whose memory takes no more than two pictures at once, and decodes no picture whole."""
    driver = EngineDriver(load(str(tiny), choose_device("cpu", "float32", 0)), rows=8)
    pipeline = driver.cache.get("tiny-3").loaded.family._pipeline
    forward, decode = pipeline.transformer.forward, pipeline.vae.decode

    def step(*args: Any, **more: Any) -> Any:
        if len(more["hidden_states"]) > 2 * 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(*args, **more)

    def whole(*args: Any, **more: Any) -> Any:
        if not pipeline.vae.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return decode(*args, **more)

    monkeypatch.setattr(pipeline.transformer, "forward", step)
    monkeypatch.setattr(pipeline.vae, "decode", whole)
    return driver


def test_full_memory_makes_a_pipeline_take_fewer_pictures_at_once_and_then_tiles_and_nobody_pays(
    narrow: EngineDriver,
) -> None:
    narrow.submit("a", request(steps=2, count=4, sampler="own"))
    spent = []
    while narrow.engine._batch_limit.rows > 1:
        narrow.engine.tick()
        spent.append(narrow.meter.job_ms("a"))
    assert max(spent) > 0 and spent[-1] == 0, "what a try cost that led to nothing is written off"
    narrow.finish("a")
    assert isinstance(narrow.last("a"), Done), narrow.last("a")
    assert len(narrow.pictures("a")) == 4
    assert sum(isinstance(event, Started) for event in narrow.of("a")) == 1
    busy, booked = narrow.meter.audit()
    assert busy == booked and narrow.overhead_ms() > 0


def test_one_picture_that_fits_in_no_way_is_said_to(narrow: EngineDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(narrow.cache.get("tiny-3").loaded.family.parts["transformer"], "forward", full)
    narrow.submit("a", request(steps=2, count=4, sampler="own"))
    narrow.finish("a")
    assert "does not fit" in narrow.failure("a").sentence


def test_a_style_is_told_in_words_the_stronger_the_more_of_them(whole: PipelineModel) -> None:
    def told(weight: float) -> tuple[str, str]:
        house = HouseStyle(positive="soft light, film grain, muted", negative="text, frame", weight=weight)
        call = whole._call(request(prompt="a boat", negative="people", house=house), (0,))
        return call["prompt"], call["negative_prompt"]

    assert told(0.0) == ("a boat", "people")
    assert told(0.1) == ("a boat, soft light", "people, text")
    assert told(0.5) == ("a boat, soft light, film grain", "people, text")
    assert told(1.0) == ("a boat, soft light, film grain, muted", "people, text, frame")
