"""The parts of training, each alone."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fercli.errors import DataError, UsageError
from fercli.learn import batches as batches_module
from fercli.learn import infer
from fercli.learn.augment import Augment, transform
from fercli.learn.batches import Batches
from fercli.learn.calibrate import fit_temperature
from fercli.learn.device import MemoryFull, choose_device, device_errors
from fercli.learn.infer import log_probabilities, loss_and_accuracy
from fercli.learn.inputs import answer
from fercli.learn.loop import Epoch, best_epoch
from fercli.learn.mix import Mix
from fercli.learn.normalise import Normalise, statistics
from fercli.learn.optimizer import Ascent, make_optimizer
from fercli.learn.rows import choose_rows
from fercli.learn.schedule import learning_rate
from fercli.learn.shared import SharedLoss
from fercli.learn.step import Rule, follow, uncapturable
from fercli.learn.teach import Teachers
from fercli.learn.training import class_weights
from fercli.ops.augment import Recipe, augment
from fercli.ops.image import digests_of
from fercli.stages.prepare import _targets
from fercli.stages.trainspec import TrainSpec
from fercli.store import objects, open_store
from tests.learning import bands, write_bands

torch.set_num_threads(1)
CPU = torch.device("cpu")


def numbered(rows: int, batch: int, seed: int = 0) -> Batches:
    """Batches of 1x1 images whose pixel is their number."""
    images = np.arange(rows, dtype=np.uint8).reshape(-1, 1, 1)
    return Batches((images,), np.arange(rows) % 5, batch=batch, seed=seed, device=CPU)


@pytest.mark.parametrize(("free", "where"), [(10_000, "meta"), (500, "cpu")])
def test_rows_lie_on_a_gpu_where_they_fit_and_all_inputs_together(
    monkeypatch: pytest.MonkeyPatch, free: int, where: str
) -> None:
    monkeypatch.setattr(batches_module, "free_memory", lambda device: free)
    gpu = torch.device("meta")  # which stands for one
    images, features = np.zeros((10, 8, 8), np.uint8), np.zeros((10, 4), np.float32)
    held = Batches((images, features), np.arange(10), batch=4, seed=0, device=gpu)
    assert [values.device.type for values in held.inputs] == [where, where]
    assert held.resident == (where == "meta")
    assert uncapturable(held) == ("" if held.resident else "the rows do not lie in its memory")
    held.hold((torch.zeros(10, 5000, device=gpu), features))  # what frozen layers made there, whatever its size
    assert [values.device.type for values in held.inputs] == ["meta", "meta"]


def order(batches: Batches, epoch: int) -> list[list[int]]:
    return [part.tolist() for part in batches.order(epoch).split(batches.sizes)]


@given(rows=st.integers(1, 200), batch=st.integers(1, 64), epoch=st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_an_epoch_shows_every_row_once_in_batches_without_a_small_rest(rows: int, batch: int, epoch: int) -> None:
    batches = numbered(rows, batch)
    seen = order(batches, epoch)
    assert sorted(itertools.chain(*seen)) == list(range(rows))
    assert len(seen) == len(batches) == math.ceil(rows / batch)
    sizes = {len(one) for one in seen}
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


def test_the_order_follows_the_seed_and_the_epoch() -> None:
    assert order(numbered(50, 8), 1) == order(numbered(50, 8), 1)
    assert order(numbered(50, 8), 1) != order(numbered(50, 8), 2)
    assert order(numbered(50, 8), 1) != order(numbered(50, 8, seed=1), 1)


def test_labels_stay_with_their_images() -> None:
    batches = numbered(50, 8)
    for where in batches.order(3).split(batches.sizes):
        (images,), labels = batches.gather(where, {})
        assert images.reshape(-1).tolist() == where.tolist()
        assert (images.reshape(-1) % 5).tolist() == labels.tolist()


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(horizontal_flip=0.5),
        Recipe(0.2, 20, 0.1, 0.1, 0.2, 0.5, 0.5, seed=3),
        Recipe(brightness=0.3, contrast=0.5, erase=0.4, seed=1),
    ],
)
def test_augmentation_on_the_device_is_that_of_stored_copies(recipe: Recipe) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 24, 24), dtype=np.uint8)
    images = np.stack([cv2.GaussianBlur(image, (0, 0), 2) for image in noise])
    rows = 7 * np.arange(60)
    batches = Batches(
        (images,), np.zeros(60, int), batch=16, seed=0, device=CPU, augment=Augment(recipe, rows, 24)
    )  # fmt: skip
    drawn, where = batches.draw(5), torch.tensor([3, 59, 0, 8])
    (made,), _ = batches.gather(where, drawn)
    stored = augment(images, recipe, rows, 5)[where]
    assert made.shape == (4, 1, 24, 24)
    assert np.abs(made[:, 0].numpy() - stored).max() < 2.5  # cv2 interpolates in 32nds of a pixel, and rounds
    (other,), _ = batches.gather(where, batches.draw(6))
    assert not torch.equal(made, other)


@given(st.integers(1, 9), st.integers(0, 1000))
def test_pixels_come_from_where_torch_takes_them(side: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    move, pixels = torch.randn(3, 2, 3, generator=generator), torch.rand(3, 2, side, side, generator=generator)
    grid = nn.functional.affine_grid(move, list(pixels.shape), align_corners=False)
    expected = nn.functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    assert torch.allclose(transform(pixels, {"move": move}), expected, atol=1e-5)


def test_unit_brings_pixels_to_0_and_1() -> None:
    images = np.array([[[0, 255]]], np.uint8)
    assert statistics(images, "unit") == ([0.0], [255.0])
    assert Normalise([0.0], [255.0])(torch.from_numpy(images)).tolist() == [[[[0.0, 1.0]]]]


def test_imagenet_is_the_mean_and_deviation_of_its_colours_and_of_gray_their_means() -> None:
    assert np.ravel(statistics(np.zeros((2, 4, 4), np.uint8), "imagenet")) == pytest.approx([114.495, 57.63])
    colour = ([255 * 0.485, 255 * 0.456, 255 * 0.406], [255 * 0.229, 255 * 0.224, 255 * 0.225])
    assert statistics(np.zeros((2, 4, 4, 3), np.uint8), "imagenet") == colour


def test_standard_is_the_mean_and_deviation_of_each_channel() -> None:
    images = np.random.Generator(np.random.PCG64([0])).integers(0, 256, (9, 5, 6, 3), dtype=np.uint8)
    images[..., 2] = 7  # of one value: its deviation is taken as 1
    mean, deviation = statistics(images, "standard")
    assert mean == pytest.approx(images.mean(axis=(0, 1, 2)))
    assert deviation == pytest.approx([*images[..., :2].std(axis=(0, 1, 2)), 1.0])
    made = Normalise(mean, deviation)(torch.from_numpy(images))
    assert made.shape == (9, 3, 5, 6)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert made[:, 0].mean().item() == pytest.approx(0, abs=1e-5)
    assert made[:, 0].std(unbiased=False).item() == pytest.approx(1, abs=1e-5)


def test_a_gray_image_becomes_one_channel() -> None:
    assert Normalise([0.0], [1.0])(torch.zeros(4, 6, 5, dtype=torch.uint8)).shape == (4, 1, 6, 5)


def test_a_constant_rate_is_constant_and_warms_up() -> None:
    assert [learning_rate(step, 10, 0.5) for step in range(10)] == [0.5] * 10
    warm = [learning_rate(step, 10, 0.5, warmup=5) for step in range(7)]
    assert warm == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5])


def test_a_cosine_falls_from_its_peak_towards_zero() -> None:
    rates = [learning_rate(step, 12, 1.0, "cosine", warmup=2) for step in range(12)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[7] == pytest.approx(0.5)  # half way from step 2 to 12
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.9)))


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "adamw"])
def test_an_optimizer_takes_its_settings_and_the_rate_of_a_step(name: str) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = make_optimizer(name, [weight], 0.1, momentum=0.8, beta2=0.95, weight_decay=0.01)
    group = optimizer.param_groups[0]
    assert type(optimizer).__name__.lower() == ("sgd" if name == "nesterov" else name)
    assert group.get("nesterov", False) == (name == "nesterov")
    assert (group["betas"] if name.startswith("adam") else group["momentum"]) == (
        (0.8, 0.95) if name.startswith("adam") else 0.8
    )
    assert group["weight_decay"] == 0.01
    group["lr"] = 0.0
    weight.sum().backward()
    optimizer.step()
    assert weight.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_fused_optimizers_do_what_the_plain_ones_do(name: str, layout: torch.memory_format) -> None:
    plain = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    results = []
    for fused in (True, False):
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(3, 8, 3).to(memory_format=layout)
        optimizer = make_optimizer(name, layer.parameters(), 0.01, momentum=0.9, beta2=0.99, weight_decay=0.1)
        if not fused:
            group = optimizer.param_groups[0]
            own = {"momentum": 0.9} if name == "sgd" else {"betas": group["betas"]}
            optimizer = plain(layer.parameters(), 0.01, weight_decay=0.1, foreach=False, fused=False, **own)
        for _ in range(4):
            optimizer.zero_grad()
            layer(torch.rand(2, 3, 6, 6).to(memory_format=layout)).square().sum().backward()
            optimizer.step()
        results.append(layer.weight.detach())
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(("weight", "temperature"), [(0.0, 2.0), (0.7, 2.0), (1.0, 1.0)])
def test_teachers_are_learnt_from_as_hinton_has_it(weight: float, temperature: float) -> None:
    rng = np.random.default_rng(0)
    images, logits = torch.from_numpy(rng.normal(size=(4, 6))), torch.from_numpy(rng.normal(size=(4, 3)))
    layers = [nn.Linear(6, 3, dtype=torch.float64) for _ in range(2)]
    models = [SimpleNamespace(network=layer, normalise=nn.Identity()) for layer in layers]
    found = Teachers(models, weight, temperature).blend(torch.tensor(2.0), logits, (images, torch.zeros(4, 9)))

    def softened(one: torch.Tensor) -> np.ndarray:
        powers = np.exp(one.detach().numpy() / temperature)
        return powers / powers.sum(axis=1, keepdims=True)

    soft = np.mean([softened(layer(images)) for layer in layers], axis=0)
    taught = -(soft * np.log(softened(logits))).sum(axis=1).mean()
    assert found.item() == pytest.approx((1 - weight) * 2.0 + weight * temperature**2 * taught, rel=1e-5)


def test_votes_are_learnt_as_shares_and_where_nobody_voted_the_label(tmp_path: Path) -> None:
    votes = np.tile(np.array([[0.5, 0.25, 0.25], [2, 2, 4], [0, 0, 0]], np.float32), (42, 1))
    with open_store(write_bands(tmp_path / "data.h5", votes=votes)) as src:
        rows, label = np.arange(6), src.column("label")
        learnt = _targets(src, rows, label, np.empty((126, 0)), TrainSpec(votes=True))
    assert learnt.dtype == np.float32
    assert learnt[:3].tolist() == [[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0, 0, 1]]
    assert learnt[3:].tolist() == learnt[:3].tolist()
    with open_store(write_bands(tmp_path / "plain.h5")) as src, pytest.raises(DataError) as error:
        _targets(src, rows, label, np.empty((126, 0)), TrainSpec(votes=True))
    assert str(error.value) == (
        f"{tmp_path}/plain.h5 has no votes to learn: leave --votes out, or ingest a data set that brings them"
    )


def test_balanced_weights_make_every_class_count_alike() -> None:
    labels = np.array([0] * 6 + [1] * 2 + [3] * 4)
    weights = class_weights(labels, 4).numpy()
    assert weights[2] == 0
    assert (np.bincount(labels, minlength=4) * weights)[[0, 1, 3]] == pytest.approx([4, 4, 4])
    assert weights[labels].mean() == pytest.approx(1)


def test_loss_and_accuracy_are_means_over_the_rows() -> None:
    answers = np.log(np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]], np.float32))
    loss, accuracy = loss_and_accuracy(answers, np.array([0, 1, 1]))
    assert loss == pytest.approx(-(math.log(0.5) + math.log(0.1) + math.log(0.8)) / 3)
    assert accuracy == pytest.approx(2 / 3)


def test_inference_is_in_batches_and_without_dropout() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(24 * 24, 3), torch.nn.Dropout(0.9)).train()
    images, _ = bands(7)
    normalise = Normalise([0.0], [255.0])
    whole = log_probabilities(network, normalise, (images,), batch=7)
    assert whole.shape == (7, 3)
    assert whole.dtype == np.float32
    assert np.exp(whole).sum(axis=1) == pytest.approx(1)
    assert log_probabilities(network, normalise, (images,), batch=2) == pytest.approx(whole, abs=1e-6)


def epochs(*pairs: tuple[float, float]) -> list[Epoch]:
    return [Epoch(i, 1.0, 0.5, loss, accuracy, 1e-3) for i, (accuracy, loss) in enumerate(pairs, start=1)]


def test_best_is_told_by_accuracy_then_loss_then_the_earlier() -> None:
    history = epochs((0.5, 0.9), (0.7, 0.8), (0.7, 0.6), (0.7, 0.6), (0.6, 0.2))
    assert best_epoch(history, "accuracy") == 2
    assert best_epoch(history, "loss") == 4


def chosen(path: Path, **columns: object) -> tuple[list[int], list[int]]:
    with open_store(write_bands(path, train=90, val=0, **columns)) as src:
        rows = choose_rows(src, 0.2, seed=1)
    return rows.train.tolist(), rows.validation.tolist()


def test_a_holdout_is_seeded_shares_out_each_class_and_parts_the_rows(tmp_path: Path) -> None:
    train, validation = chosen(tmp_path / "data.h5")
    assert sorted(train + validation) == list(range(90))
    assert np.bincount(np.array(validation) % 3).tolist() == [6, 6, 6]
    assert (train, validation) == chosen(tmp_path / "data.h5")


def test_copies_stay_on_one_side_and_are_validated_once(tmp_path: Path) -> None:
    images, _ = bands(90)
    digest = digests_of(images).copy()
    digest[60:] = digest[:30]
    train, validation = chosen(tmp_path / "data.h5", digest=digest)
    assert not {row % 60 for row in train} & {row % 60 for row in validation}
    assert max(validation) < 60
    assert any(row < 30 for row in validation), "no copied picture was held out"


@pytest.mark.parametrize("column", ["source", "sequence"])
def test_faces_of_a_photo_and_frames_of_a_sequence_stay_on_one_side(tmp_path: Path, column: str) -> None:
    train, validation = chosen(tmp_path / "data.h5", **{column: objects(f"clip {row // 5}" for row in range(90))})
    assert validation
    assert not {row // 5 for row in train} & {row // 5 for row in validation}


def test_first_clips_of_two_people_are_two(tmp_path: Path) -> None:
    people = objects(f"person {row // 2}" for row in range(90))
    train, validation = chosen(tmp_path / "data.h5", sequence=objects(["001"] * 90), subject=people)
    assert train
    assert len(validation) == pytest.approx(18, abs=3)


def test_cuda_without_a_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(UsageError) as error:
        choose_device("cuda")
    assert str(error.value) == (
        "--device cuda needs an NVIDIA GPU, and torch sees none on this machine: type --device cpu"
    )


ELSEWHERE = "end what else runs on it, or set CUDA_VISIBLE_DEVICES= to compute on the CPU"


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        (64, " at --batch 64: type --batch 32"),
        (1, f" at --batch 1: {ELSEWHERE}"),
        (None, f": {ELSEWHERE}"),
    ],
)
def test_a_full_gpu_is_told(batch: int | None, told: str) -> None:
    with pytest.raises(MemoryFull) as error, device_errors(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert str(error.value) == f"the GPU's memory is full{told}"


def test_passes_become_smaller_where_a_gpu_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    network, normalise = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)), torch.nn.Identity()
    images = np.arange(80, dtype=np.float32).reshape(20, 2, 2)
    whole = log_probabilities(network, normalise, (images,))
    counts = []

    def full(network, normalise, inputs):
        counts.append(len(inputs[0]))
        if counts[-1] > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return answer(network, normalise, inputs)

    monkeypatch.setattr(infer, "answer", full)
    assert log_probabilities(network, normalise, (images,)) == pytest.approx(whole, abs=1e-6)
    assert counts == [20, 10, 10]
    with pytest.raises(torch.OutOfMemoryError):  # it was asked for
        log_probabilities(network, normalise, (images,), batch=16)


def test_a_gpu_that_cannot_take_one_row_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(infer, "answer", full)
    with pytest.raises(torch.OutOfMemoryError):
        log_probabilities(torch.nn.Linear(4, 3), torch.nn.Identity(), (np.zeros((3, 4), np.float32),))


def test_a_gpu_for_which_torch_has_no_code_is_told() -> None:
    reason = "CUDA error: no kernel image is available for execution on the device"
    with pytest.raises(DataError) as error, device_errors(8):
        raise RuntimeError(reason)
    assert str(error.value) == (
        "the GPU is older or newer than those that this torch has code for: "
        "set CUDA_VISIBLE_DEVICES= to compute on the CPU"
    )


def test_a_gpu_that_is_full_while_steps_are_captured_is_told() -> None:
    hiding = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    hiding.__context__ = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(MemoryFull) as error, device_errors(64):
        raise hiding
    assert str(error.value) == "the GPU's memory is full at --batch 64: type --batch 32"


@pytest.mark.parametrize(
    "reason",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    ],
)
def test_a_gpu_that_is_full_for_a_library_is_told(reason: str) -> None:
    with pytest.raises(MemoryFull) as error, device_errors(64):
        raise RuntimeError(reason)
    assert str(error.value) == "the GPU's memory is full at --batch 64: type --batch 32"


def test_full_memory_is_told() -> None:
    with pytest.raises(MemoryFull) as error, device_errors(64):
        torch.empty(1 << 60, dtype=torch.uint8)
    assert str(error.value) == "the memory is full at --batch 64: type --batch 32"


@pytest.mark.parametrize(
    "reason", ["CUDA error: unspecified launch failure", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"]
)
def test_a_gpu_that_is_gone_is_told(reason: str) -> None:
    with pytest.raises(DataError) as error, device_errors(64):
        raise RuntimeError(f"{reason}\nCompile with TORCH_USE_CUDA_DSA")
    assert str(error.value) == f"the GPU no longer answers ({reason}): type the same command again"


@given(seed=st.integers(0, 1000), smoothing=st.floats(0, 0.9))
@settings(max_examples=20, deadline=None)
def test_the_loss_that_needs_no_answer_of_a_gpu_is_that_of_torch(seed: int, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, weights = torch.randn(9, 4, generator=generator), torch.rand(4, generator=generator) + 0.1
    labels = torch.randint(0, 4, (9,), generator=generator)
    theirs = nn.CrossEntropyLoss(weights, label_smoothing=smoothing)(logits, labels)
    assert SharedLoss(weights, smoothing)(logits, labels).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_other_errors_of_torch_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^mat1 and mat2"), device_errors(64):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@given(scale=st.floats(0.2, 5), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_a_temperature_undoes_what_scaled_the_logits(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(4000, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((4000, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(0, 2)  # drawn as the logits say
    plain = fit_temperature(logits, labels)
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale * plain, rel=1e-4)
    assert plain == pytest.approx(1, abs=0.15)


def test_a_mean_of_weights_follows_them() -> None:
    network, average = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    network.running_mean.fill_(1.0)
    network.num_batches_tracked.fill_(7)
    follow(average, network, 0.25)
    follow(average, network, 0.25)
    assert average.running_mean.tolist() == [0.4375] * 2
    assert average.num_batches_tracked.item() == 7


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0), (0, 1.0), (0.4, 1.0)])
def test_pictures_and_labels_are_mixed_in_one_measure(mixup: float, cutmix: float) -> None:
    mix = Mix(mixup, cutmix, classes=2, side=8, seed=3)
    drawn = mix.draw(50, 1)
    assert torch.equal(drawn, mix.draw(50, 1))
    assert not torch.equal(drawn, mix.draw(50, 2))
    images = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])  # of class 0 and of class 1
    shares = []
    for step in drawn:
        mixed, targets = mix.blend(images, torch.tensor([0, 1]), step)
        assert targets.sum(1).tolist() == pytest.approx([1, 1])
        assert mixed.mean((1, 2, 3)).tolist() == pytest.approx(targets[:, 1].tolist(), abs=1e-5)
        shares.append(targets[0, 0].item())
    assert min(shares) < 0.4
    assert max(shares) > 0.8


def test_the_steepest_place_near_by_is_left_as_it_was_found() -> None:
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    ascent = Ascent([weight], 0.5)
    weight.square().sum().backward()
    ascent.climb()
    assert weight.tolist() == pytest.approx([3.3, 4.4])
    ascent.return_()
    assert weight.tolist() == [3.0, 4.0]


def test_normalisations_keep_the_statistics_of_the_weights_that_are_kept() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    optimizer = make_optimizer("sgd", network.parameters(), 0.0, momentum=0.0, beta2=0.9, weight_decay=0.0)
    rule = Rule(
        network, nn.Identity(), optimizer, nn.CrossEntropyLoss(), ascent=Ascent(network.parameters(), radius=0.5)
    )
    pixels = torch.rand(9, 1, 2, 2)
    for _ in range(200):  # of a rate of 0, so the weights stay
        rule.apply((pixels,), torch.arange(9) % 3, None)
    mean = network[:2](pixels).mean(0).detach()
    torch.testing.assert_close(network[2].running_mean, mean)
    assert network[2].momentum == 0.1


def test_a_cycle_rises_and_falls() -> None:
    rates = [learning_rate(step, 100, 1.0, "onecycle") for step in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[30] == max(rates) == pytest.approx(1)
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert rates[-1] < 0.001
