"""`denoise` on arrays: any size and type, the same result for the same seed, clear refusals."""

import hashlib
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import robustdip.recovery
from overparam.devices import pick_device
from robustdip import RECIPES, Picture, corrupt, denoise, fit
from robustdip.corruption.descent import Descent
from robustdip.corruption.mixture import Mixture
from robustdip.fitting.memory import memory_free, memory_needed
from robustdip.fitting.optimizers import DecayingRate
from robustdip.methods import METHODS
from robustdip.recovery import DivergedError, NotEnoughMemoryError
from tests.helpers.images import small

ROOT = Path(__file__).parents[2]
SMALL = {name: small(name) for name in RECIPES}
DEFAULT, PAPER = SMALL["default"], SMALL["paper"]
DTYPES = (np.uint8, np.uint16, np.float32, np.float64)
OTHER_DTYPES = (">u2", np.float16, ">f4", ">f8")


def picture(*shape, dtype=np.float32, seed=0):
    """A smooth image, 30 % of its elements replaced by black or white."""
    ramps = np.add.outer(np.linspace(0, 2, shape[0]), np.linspace(0, 3, shape[1]))
    smooth = 0.5 + 0.3 * np.sin(ramps[..., None] + np.arange(shape[2] if shape[2:] else 1))
    rng = np.random.default_rng(seed)
    bad = corrupt(smooth.reshape(shape), "salt-and-pepper", 0.3, rng=rng)[0]
    if np.issubdtype(dtype, np.floating):
        return bad.astype(dtype)
    return np.rint(bad * np.iinfo(dtype).max).astype(dtype)


def identical(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("image", "corruption", "mask")
    )


@dataclass
class Scripted:
    """Stands in for `Step`: counts how often its loss, which waits for the device, is asked for."""

    number: int
    steps: int
    value: float
    looks: list[int] = field(default_factory=list)

    image = corruption = np.zeros((2, 2, 1), np.float32)
    mask = np.zeros((2, 2, 1), bool)
    uncertainty = None

    @property
    def loss(self):
        self.looks.append(self.number)
        return self.value


def scripted(monkeypatch, losses=lambda number: 0.1, *, then=None):
    """Let `denoise` run through steps with these losses; returns the steps at which it looked."""
    looks = []

    def fit(image, recipe, **_):
        for number in range(1, recipe.steps + 1):
            yield Scripted(number, recipe.steps, losses(number), looks)
            if then is not None:
                then(number)

    monkeypatch.setattr(robustdip.recovery, "fit", fit)
    return looks


# --- what comes out ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (2, 3, 3), (31, 33, 2), (64, 65, 4), (37, 100, 1)])
def test_any_size_and_type_comes_back_as_it_came(shape):
    results = []
    for dtype in DTYPES:
        image = picture(*shape, dtype=dtype)
        image.flags.writeable = False
        result = denoise(image, method=DEFAULT, steps=3)
        integer = np.issubdtype(dtype, np.integer)
        assert result.image.dtype == dtype
        assert result.corruption.dtype == np.float32
        assert result.mask.dtype == bool
        assert result.image.shape == result.corruption.shape == result.mask.shape == shape
        assert 0 <= result.image.min() <= result.image.max() <= (1 if not integer else 65535)
        results.append(result)
    # float64 is rounded, but where nothing changed.
    np.testing.assert_allclose(results[2].image, results[3].image, atol=1e-7)
    np.testing.assert_array_equal(results[2].corruption, results[3].corruption)


@pytest.mark.parametrize("dtype", OTHER_DTYPES)
def test_byte_order_and_half_precision_come_back(dtype):
    dtype = np.dtype(dtype)
    native = dtype.newbyteorder("=")
    image = picture(20, 30, 3, dtype=native)
    result = denoise(image.astype(dtype), method=DEFAULT, steps=3)
    assert result.image.dtype == dtype
    same = image if native.kind == "u" else image.astype(np.float32)
    expected = denoise(same, method=DEFAULT, steps=3).image.astype(dtype)
    np.testing.assert_array_equal(result.image, expected)


def test_memory_layout_does_not_matter():
    image = picture(20, 30, 3)
    expected = denoise(image, method=DEFAULT, steps=3)
    wide = np.zeros((40, 30, 3), np.float32)
    wide[::2] = image
    for same in (np.asfortranarray(image), image[::-1].copy()[::-1], wide[::2], image.tolist()):
        assert identical(denoise(same, method=DEFAULT, steps=3), expected)
    one_channel = denoise(image[..., :1], method=DEFAULT, steps=3)
    grey = denoise(image[..., 0], method=DEFAULT, steps=3)
    assert np.array_equal(grey.image, one_channel.image[..., 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_image_is_the_input_less_the_corruption(dtype):
    image = picture(40, 50, 3, dtype=dtype)
    result = denoise(image, method=DEFAULT)
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    left = image / white - result.corruption
    half_a_level = 0.5 / white if white > 1 else 0
    assert np.abs(left - result.image / white).max() < half_a_level + 1e-6
    assert np.abs(result.corruption).max() <= 1
    # 30 % are corrupted. After so few steps more are found: 0.54 ± 0.10 over ten seeds.
    assert 0.13 < result.mask.mean() < 0.95
    error = np.abs(result.corruption)
    assert error[result.mask].mean() > 10 * error[~result.mask].mean()


def test_the_result_tells_what_was_run():
    steps = []
    result = denoise(
        picture(8, 9), method="dip-l2", steps=7, seed=5, device="cpu", on_step=steps.append
    )
    assert result.recipe == replace(RECIPES["dip-l2"], steps=7)
    assert (result.seed, result.device, result.steps, result.status) == (5, "cpu", 7, "completed")
    assert 0 < result.seconds < 60
    assert [(step.number, step.steps) for step in steps] == [(n, 7) for n in range(1, 8)]
    assert [record["step"] for record in result.history] == list(range(1, 8))
    assert all(record.keys() == {"step", "loss"} for record in result.history)
    assert not result.corruption.any()  # dip-l2 has no s
    assert not result.mask.any()
    assert "history" not in repr(result)


def test_fit_yields_the_steps_that_denoise_returns():
    image = picture(20, 20, 3)
    result = denoise(image, method=DEFAULT, seed=3)
    for step in fit(image, DEFAULT, seed=3):
        shape = (step.image.shape, step.corruption.shape, step.mask.shape)
        assert shape == ((20, 20, 3),) * 3
    assert step.number == step.steps == DEFAULT.steps
    # But for values that differ from the input by rounding alone: denoise gives back the input.
    kept = result.image == image
    assert np.array_equal(step.image[~kept], result.image[~kept])
    np.testing.assert_allclose(step.image[kept], image[kept], rtol=0, atol=2e-7)
    assert not kept.all()
    assert np.array_equal(step.mask, result.mask)
    assert step.loss == result.history[-1]["loss"]


def test_history_has_some_hundred_looks_and_the_last(monkeypatch):
    scripted(monkeypatch)
    for steps in (1, 99, 100, 995, 10_007):
        history = denoise(picture(2, 2, 1), steps=steps).history
        assert history[-1]["step"] == steps
        assert min(steps, 100) <= len(history) <= 200
        assert len({record["step"] for record in history}) == len(history)


@pytest.mark.slow
def test_a_reference_only_reports():
    image = picture(20, 30, 3)
    for clean in (np.full((20, 30, 3), 0.5), np.zeros((20, 30, 3))):
        steps = []
        result = denoise(
            image,
            method=DEFAULT,
            reference=clean,
            on_step=lambda step, steps=steps: steps.append(step.image),
        )
        assert identical(result, denoise(image, method=DEFAULT))
        for record, seen in zip(result.history, steps, strict=True):
            error = np.mean((seen.astype(np.float64) - clean) ** 2)
            assert record["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-3)


# --- the same seed, the same result; nothing else touched ----------------------------------


def digest(names, image):
    results = [denoise(image, method=SMALL[name], seed=1) for name in names]
    parts = [part for r in results for part in (r.image, r.corruption, r.mask)]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@pytest.mark.slow
def test_one_seed_gives_one_result_here_and_in_another_process(one_thread):
    names, image = ["default", "paper"], picture(40, 33, 3)
    here = digest(names, image)
    assert digest(names, image) == here
    script = (
        "import torch, tests.robustdip.test_recovery as t\n"
        "torch.set_num_threads(1)\n"
        f"print(t.digest({names}, t.picture(40, 33, 3)))"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    there = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert there.stdout.strip() == here, there.stderr


def test_another_seed_gives_another_result():
    image = picture(16, 16)
    one, other = (denoise(image, method=PAPER, steps=5, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.image, other.image)
    assert not np.array_equal(one.corruption, other.corruption)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_padding_cannot_be_seen(name, monkeypatch):
    image = picture(20, 70, 3)
    expected = denoise(image, method=SMALL[name])
    assert expected.mask.any() == (
        name in ("default", "fast", "best")
    )  # s takes part, where it is that fast
    settings, filled = type(SMALL[name].corruption_model), []
    start = settings.start

    def fill(self, problem):
        noise = torch.rand(problem.y.shape, generator=torch.Generator().manual_seed(len(filled)))
        filled.append(int((problem.valid == 0).sum()))
        return start(self, replace(problem, y=torch.where(problem.valid > 0, problem.y, noise)))

    monkeypatch.setattr(settings, "start", fill)
    for _ in range(2):
        assert identical(denoise(image, method=SMALL[name]), expected)
    assert filled == [3 * (64 * 96 - 20 * 70)] * 2


def test_global_state_is_left_alone():
    def state():
        cudnn = torch.backends.cudnn
        return (
            torch.get_rng_state().numpy().tobytes(),
            repr(np.random.get_state()),  # noqa: NPY002
            random.getstate(),
            (torch.get_num_threads(), torch.get_num_interop_threads()),
            (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
            (torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype()),
            (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")),
            torch.get_float32_matmul_precision(),
            repr(np.geterr()),
            dict(os.environ),
        )

    before = state()
    for recipe in SMALL.values():
        denoise(picture(8, 8, 3), method=recipe, steps=2)
    assert state() == before


@pytest.fixture(scope="module")
def plain():
    """The image and the uncertainty in an ordinary state of torch."""
    result = denoise(picture(12, 9, 3), method=DEFAULT, steps=6)
    return result.image, result.uncertainty


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "mode",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("meta"),
        lambda: default_dtype(torch.float64),
        lambda: default_dtype(torch.bfloat16),
    ],
    ids=["no_grad", "inference", "autocast", "device", "float64", "bfloat16"],
)
def test_modes_of_the_caller_change_nothing(mode, plain):
    image, steps = picture(12, 9, 3), []
    with mode():
        result = denoise(image, method=DEFAULT, steps=6)
        for step in fit(image, DEFAULT):
            assert torch.is_grad_enabled() != (mode in (torch.no_grad, torch.inference_mode))
            steps.append(step)
            if step.number == 6:
                break
        published = denoise(image, method=PAPER, steps=3)
        with_mask = denoise(image, method=DEFAULT, mask=image > 0.99, steps=3)
    np.testing.assert_array_equal(result.image, plain[0])
    np.testing.assert_array_equal(result.uncertainty, plain[1])
    outside = denoise(image, method=PAPER, steps=3)
    np.testing.assert_array_equal(published.image, outside.image)
    again = denoise(image, method=DEFAULT, mask=image > 0.99, steps=3)
    np.testing.assert_array_equal(with_mask.image, again.image)


def test_other_containers_of_pixels_are_taken_for_what_they_are(plain):
    image = picture(12, 9, 3)
    tensor = torch.from_numpy(image).requires_grad_()
    np.testing.assert_array_equal(denoise(tensor, method=DEFAULT, steps=6).image, plain[0])
    bytes_ = picture(12, 9, 3, dtype=np.uint8)
    of_array = denoise(bytes_, method=DEFAULT, steps=3)
    of_picture = denoise(Image.fromarray(bytes_), method=DEFAULT, steps=3)
    np.testing.assert_array_equal(of_picture.image, of_array.image)
    clean = np.ma.masked_array(image, np.zeros(image.shape, bool))
    np.testing.assert_array_equal(denoise(clean, method=DEFAULT, steps=6).image, plain[0])


def test_threads_do_not_disturb_each_other(plain):
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(denoise, picture(12, 9, 3), method=DEFAULT, steps=6) for _ in range(3)]
    for job in jobs:
        np.testing.assert_array_equal(job.result().image, plain[0])


@pytest.mark.parametrize("recipe", [DEFAULT, PAPER, SMALL["dip-es-wmv"]], ids=lambda r: r.name)
def test_a_step_keeps_its_arrays_whatever_follows(recipe):
    image = picture(12, 9, 3)
    seen = [
        (step.image, step.corruption, step.mask, step.loss)
        for step in fit(image, replace(recipe, steps=12))
    ]
    kept = list(fit(image, replace(recipe, steps=12)))
    for step, (x, s, mask, loss) in zip(kept, seen, strict=True):
        np.testing.assert_array_equal(step.image, x)
        np.testing.assert_array_equal(step.corruption, s)
        np.testing.assert_array_equal(step.mask, mask)
        assert step.loss == loss


# --- what is refused, and when -------------------------------------------------------------


@pytest.fixture
def no_step(monkeypatch):
    """A refusal that comes after the first step is no refusal."""

    def fit(*_, **__):
        pytest.fail("the fit was started")

    monkeypatch.setattr(robustdip.recovery, "fit", fit)


GOOD = picture(4, 5, 3)
HOLED = GOOD.copy()
HOLED[0, 0, :2] = np.nan, np.inf


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image": HOLED}, ValueError, "image has 2 values that are not finite"),
        ({"image": -HOLED}, ValueError, "2 values that are not finite"),
        ({"reference": HOLED}, ValueError, "reference has 2 values"),
        ({"image": GOOD + 1.5}, ValueError, r"from 1.5 to 2.5; floats must be in \[0, 1\]"),
        ({"image": GOOD - 1}, ValueError, "from -1 to 0"),
        ({"image": GOOD.astype(int)}, TypeError, "image is int64"),
        ({"image": GOOD > 0.5}, TypeError, "image is bool"),
        ({"image": GOOD * 1j}, TypeError, "complex"),
        ({"image": "photo.png"}, TypeError, r"image is a str; .* read_image\(FILE\).pixels"),
        ({"image": Picture(np.zeros((4, 5), np.uint8))}, TypeError, "image is a Picture"),
        ({"image": GOOD[:0]}, ValueError, r"\(0, 5, 3\)"),
        ({"image": GOOD[None]}, ValueError, r"\(1, 4, 5, 3\); \(H, W\) or \(H, W, 1 to 4\)"),
        ({"image": GOOD[0, 0]}, ValueError, r"\(3,\)"),
        ({"image": np.zeros((2, 2, 5))}, ValueError, r"\(2, 2, 5\)"),
        ({"reference": GOOD[:3]}, ValueError, r"\(3, 5, 3\), the image \(4, 5, 3\)"),
        ({"method": "none"}, ValueError, "no method 'none'; there are " + ", ".join(METHODS)),
        ({"method": "median", "mask": GOOD > 2}, ValueError, "'median' takes no mask"),
        ({"method": "linear"}, ValueError, "fills the elements of a mask"),
        ({"steps": 0}, ValueError, "steps is 0; a whole number from 1"),
        ({"steps": 1.5}, TypeError, "steps is 1.5; a whole number"),
        ({"steps": True}, TypeError, "steps is True; a whole number"),
        ({"seed": -1}, ValueError, "seed is -1; a whole number from 0"),
        ({"seed": 1.5}, TypeError, "seed is 1.5; a whole number"),
        ({"image": Image.new("P", (5, 4))}, TypeError, "Pillow image of mode P"),
        ({"image": np.ma.masked_less(GOOD, 9)}, ValueError, "mask marks every element"),
        ({"device": "gpu"}, ValueError, "'gpu'; auto, cpu, cuda, cuda:N or mps is needed"),
        ({"device": "meta"}, ValueError, "'meta'"),
        ({"device": "cuda:99"}, ValueError, "'cuda:99' is not there"),
    ],
)
def test_refused_before_the_first_step(no_step, arguments, error, message):
    with pytest.raises(error, match=message):
        denoise(**{"image": GOOD} | arguments)


def test_auto_takes_what_is_there(monkeypatch):
    present = {"cuda": False, "mps": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present["cuda"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(present["cuda"]))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: present["mps"])
    assert pick_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="'mps' is not there"):
        pick_device("mps")
    with pytest.raises(ValueError, match=r"'cuda' is not there \(0 CUDA devices\)"):
        pick_device("cuda")
    present["mps"] = True
    assert pick_device("auto").type == pick_device("mps").type == "mps"
    present["cuda"] = True
    assert pick_device("auto").type == "cuda"
    assert pick_device("cuda:0").index == 0
    with pytest.raises(ValueError, match=r"'cuda:1' is not there \(1 CUDA devices\)"):
        pick_device("cuda:1")


# --- what goes wrong on the way ------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [
        replace(PAPER, lr=1e30),
        replace(PAPER, corruption_model=Descent(lr=1.0)),
        replace(DEFAULT, lr=1e30),
    ],
    ids=["network", "corruption", "muon"],
)
def test_a_fit_that_diverges_says_so_within_20_steps(recipe):
    seen = []
    recipe = replace(recipe, steps=100_000)  # looked at every 1000 steps, for the history
    with pytest.raises(DivergedError) as caught:
        denoise(picture(16, 16, 3), method=recipe, on_step=lambda step: seen.append(step.number))
    assert len(seen) <= 20
    parts = [f"recipe '{recipe.name}'", f"lr={recipe.lr:g}"]
    if recipe.name == "paper":
        parts.append(f"corruption_model.lr={recipe.corruption_model.lr:g}")
    for part in parts:
        assert part in str(caught.value)


def test_a_late_divergence_is_seen_without_looking_at_every_step(monkeypatch):
    looks = scripted(monkeypatch, lambda number: 0.1 if number < 9_057 else float("nan"))
    with pytest.raises(DivergedError, match="loss is nan at step 90"):
        denoise(picture(2, 2, 1), steps=20_000)
    assert looks[-1] <= 9_057 + 20
    assert len(looks) <= 9_077 / 20 + 200
    # Nor is it returned when the last step, or Ctrl-C, comes before the next look.
    scripted(monkeypatch, lambda number: 0.1 if number < 1_999 else float("inf"))
    with pytest.raises(DivergedError, match="loss is inf at step 1999"):
        denoise(picture(2, 2, 1), steps=1_999)

    def stop(number):
        if number == 9_058:
            raise KeyboardInterrupt

    scripted(monkeypatch, lambda number: 0.1 if number < 9_057 else float("nan"), then=stop)
    with pytest.raises(DivergedError, match="step 9058"):
        denoise(picture(2, 2, 1), steps=20_000)


@pytest.mark.parametrize("stop_at", [1, 3, 25])
def test_ctrl_c_returns_the_last_step(stop_at):
    image, seen = picture(16, 17, 3), []

    def stop(step):
        seen.append((step.image, step.corruption, step.mask))
        if step.number == stop_at:
            raise KeyboardInterrupt

    result = denoise(image, method=DEFAULT, steps=1000, on_step=stop)
    assert result.status == "interrupted"
    assert result.steps == stop_at == len(seen)
    assert result.recipe.steps == 1000
    assert result.history[-1]["step"] == stop_at
    image, corruption, mask = seen[-1]
    # A value that changed by less than float32's rounding is that of the input.
    np.testing.assert_allclose(result.image, image, rtol=0, atol=2**-23)
    np.testing.assert_array_equal(result.corruption, corruption)
    np.testing.assert_array_equal(result.mask, mask)


def test_ctrl_c_before_the_first_step_has_nothing_to_return(monkeypatch):
    def fit(*_, **__):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(robustdip.recovery, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        denoise(GOOD)


@pytest.mark.parametrize("text", ["mine", "an illegal memory access was encountered"])
def test_other_errors_pass_through(text):
    def fail(step):
        raise RuntimeError(text)

    with pytest.raises(RuntimeError, match=text):
        denoise(GOOD, method=DEFAULT, on_step=fail)


# --- memory --------------------------------------------------------------------------------


def test_fit_takes_an_array_and_a_recipe():
    with pytest.raises(TypeError, match="image is a str; an array is needed"):
        fit("photo.png", DEFAULT)
    with pytest.raises(TypeError, match="recipe is 'default'; a Recipe is needed"):
        fit(GOOD, "default")


def test_what_will_not_fit_is_refused_with_advice(monkeypatch, no_step):
    monkeypatch.setattr(robustdip.recovery, "memory_free", lambda device: 2 * 10**9)
    big = np.zeros((2000, 3000, 3), np.uint8)
    with pytest.raises(NotEnoughMemoryError) as caught:
        denoise(big, tile=3000)
    needed = memory_needed(big.shape, RECIPES["default"])
    assert f"3000x2000 needs about {needed / 1e9:.1f} GB" in str(caught.value)
    assert "2.0 GB free" in str(caught.value)
    assert "make the image or the tile smaller" in str(caught.value)
    assert isinstance(caught.value, MemoryError)


def test_the_limit_is_the_estimate(monkeypatch):
    needed = memory_needed((8, 8, 1), replace(DEFAULT, steps=2))
    for free, fits in ((needed, True), (needed - 1, False), (None, True)):
        monkeypatch.setattr(robustdip.recovery, "memory_free", lambda device, free=free: free)
        if fits:
            denoise(picture(8, 8), method=DEFAULT, steps=2)
        else:
            with pytest.raises(NotEnoughMemoryError):
                denoise(picture(8, 8), method=DEFAULT, steps=2)


def test_the_estimate_grows_with_the_area_and_the_width():
    recipe = RECIPES["default"]
    one = memory_needed((512, 512, 3), recipe)
    assert 3.4 < memory_needed((1024, 1024, 3), recipe) / one <= 4
    assert 1.2 < memory_needed((512, 512, 3), replace(recipe, width=2 * recipe.width)) / one < 4
    assert memory_needed((1, 1, 3), recipe) == memory_needed((64, 64, 3), recipe)  # padded
    # Long and thin, turned or not, it is the padded area that counts.
    assert memory_needed((1, 4096), recipe) == memory_needed((4096, 1), recipe)


def test_free_memory_is_what_the_system_says(monkeypatch):
    free = memory_free(torch.device("cpu"))
    if sys.platform == "linux":
        assert 10**7 < free < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        assert free is None


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB)"),
    ],
    ids=["cuda", "cpu", "mps"],
)
def test_running_out_of_memory_on_the_way_has_the_same_advice(monkeypatch, error):
    def fail(number):
        raise error

    scripted(monkeypatch, then=fail)
    with pytest.raises(NotEnoughMemoryError, match=r"ran out of memory .*\(2, 2, 1\); make") as out:
        denoise(picture(2, 2, 1))
    assert out.value.__cause__ is error


# --- recipes -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_plain_frozen_data_and_runs(name):
    recipe = RECIPES[name]
    assert recipe == replace(recipe)
    assert hash(recipe) == hash(replace(recipe))
    fields = json.loads(json.dumps(asdict(recipe)))  # with all thresholds, down to the detectors
    if isinstance(recipe.corruption_model, Mixture):
        assert fields["corruption_model"]["detectors"][1]["min_repeats"] == 24
    assert recipe.source
    with pytest.raises(FrozenInstanceError):
        recipe.steps = 1
    one, other = (denoise(GOOD, method=replace(recipe, width=16), steps=2) for _ in range(2))
    assert identical(one, other)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.zeros((8, 8)), r"\(8, 8\)"),
        (np.full((8, 8, 1), 2.0), "from 2 to 2"),
        (np.full((8, 8, 1), np.nan), "64 values that are not finite"),
    ],
)
def test_fit_refuses_at_the_call(image, why):
    with pytest.raises(ValueError, match=why):
        fit(image, DEFAULT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer": "rmsprop"},
        {"width": 8},
        {"steps": 0},
        {"loss": "l3"},
        {"lr": -1.0},
        {"jitter": -1.0},
        {"average": 1.0},
        {"rounding": 0.0},
        {"code_scale": float("nan")},
        {"code_channels": 0},
    ],
)
def test_recipes_refuse_what_they_do_not_know(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(DEFAULT, **wrong)


@pytest.mark.parametrize(
    "wrong", [{"warm_up": 0}, {"constant": 1.5}, {"final": -0.1}, {"min_reach": 0.0}]
)
def test_rates_refuse_what_is_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DecayingRate(**wrong)


def test_a_short_run_gives_the_networks_image_and_not_the_input():
    noisy = picture(40, 40, 3)
    result = denoise(noisy, method=replace(RECIPES["default"], width=16, steps=12))
    assert np.abs(result.image - noisy).mean() > 0.02


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 3), (16, 16)])
def test_tiny_clean_images_come_back(shape):
    """Nothing is corrupted: a constant of any size is recovered by the default recipe itself."""
    image = np.full(shape, 0.2, np.float32)
    result = denoise(image, method=replace(RECIPES["default"], width=16, steps=250))
    assert np.abs(result.image - image).max() < 0.03


def test_several_networks_share_one_s_and_their_mean_is_the_image():
    image = picture(40, 50, 3)
    several = replace(DEFAULT, networks=3, steps=4)
    *_, last = fit(image, several)
    assert last.image.shape == last.mask.shape == image.shape
    assert not np.array_equal(last.image, denoise(image, method=DEFAULT, steps=4).image)
    again = denoise(image, method=several)
    assert np.array_equal(again.image, last.image)
    one = memory_needed(image.shape, DEFAULT)
    assert one < memory_needed(image.shape, several) < 3 * one
    with pytest.raises(ValueError, match="networks is 2; corruption model Descent needs 1"):
        replace(RECIPES["paper"], networks=2)
    with pytest.raises(ValueError, match="networks is 0"):
        replace(DEFAULT, networks=0)
    with pytest.raises(ValueError, match=r"finest is 1\.5"):
        replace(DEFAULT, finest=1.5)
    with pytest.raises(ValueError, match=r"skip is 16 and finest 0\.25, which is 16 of"):
        replace(RECIPES["default"], skip=16)
    assert replace(RECIPES["default"], skip=16, joined=1.0, finest=1.0).skip == 16
