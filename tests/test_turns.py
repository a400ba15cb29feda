"""One pipeline and several threads: one thing at a time, and what `interrupt` reaches."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from animate_anyone.run.turns import Busy, Interrupted

from conftest import load_case, run_case

SHORT = {"num_inference_steps": 1, "output_type": "latent"}


@pytest.fixture
def latents() -> torch.Tensor:
    """Of three small frames."""
    return torch.randn(1, 4, 3, 8, 6, generator=torch.Generator().manual_seed(0))


def test_threads_get_what_they_would_get_alone(pipe, latents):
    """Runs, decodings and embeddings of eight threads at once, each as if nobody else were
    there."""
    reference, poses = load_case("noguide")[1:3]
    tasks = {
        "run": lambda: run_case(pipe, "noguide", **SHORT)[0],
        "decode": lambda: pipe.decode(latents, "np"),
        "frames": lambda: np.stack([np.asarray(frame) for frame in pipe.decode_frames(latents)]),
        "embedding": lambda: pipe.encode_image(reference),
        "poses": lambda: pipe.pose_features(poses[:2], 48, 64)([0, 1]),
    }
    alone = {name: task() for name, task in tasks.items()}
    with ThreadPoolExecutor(8) as threads:
        together = [(name, threads.submit(task)) for _ in range(4) for name, task in tasks.items()]
        for name, result in together:
            assert np.array_equal(result.result(timeout=60), alone[name]), name


def test_denoisers_of_two_threads(pipe):
    """What `prepare` gives may be called from any thread, too."""
    _, reference, poses, _ = load_case("noguide")
    denoiser = pipe.prepare(reference, poses[:2], (48, 64))
    samples = [pipe.prepare_latents(2, 48, 64, torch.Generator().manual_seed(n)) for n in range(8)]

    def predict(sample):
        return denoiser(sample, 500.0, [0, 1], conditional=True)

    alone = [predict(sample) for sample in samples]
    with ThreadPoolExecutor(8) as threads:
        assert all(map(torch.equal, threads.map(predict, samples), alone))


def latents_of(pipe, **settings) -> torch.Tensor:
    """Of a run whose callback is a test's own."""
    _, reference, poses, _ = load_case("noguide")
    noise = torch.Generator().manual_seed(0)
    return pipe(reference, poses, width=48, height=64, generator=noise, **settings).frames


@pytest.fixture
def running(pipe):
    """A run in another thread that stops after its first step until `go_on` is set."""
    began, go_on = threading.Event(), threading.Event()

    def hold(pipe, step, timestep, values):
        began.set()
        assert go_on.wait(60)

    with ThreadPoolExecutor(1) as thread:
        settings = SHORT | {"num_inference_steps": 2, "callback_on_step_end": hold}
        run = thread.submit(latents_of, pipe, **settings)
        assert began.wait(60)
        run.go_on = go_on
        yield run
        go_on.set()


def test_a_second_run_waits_or_is_refused(pipe, running):
    with pytest.raises(Busy, match="the pipeline is busy with another run"):
        run_case(pipe, "noguide", wait=False, **SHORT)
    with ThreadPoolExecutor(1) as thread:
        second = thread.submit(run_case, pipe, "noguide", **SHORT)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.2)
        running.go_on.set()
        assert np.isfinite(second.result(timeout=60)[0]).all()
    assert torch.isfinite(running.result(timeout=60)).all()


def test_interrupt_reaches_the_run_and_not_the_one_that_waits(pipe, running, latents):
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(pipe.decode, latents, "np")
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.2)
        pipe.interrupt()
        running.go_on.set()
        with pytest.raises(Interrupted, match="stopped before "):
            running.result(timeout=60)
        assert waiting.result(timeout=60).shape == (1, 3, 64, 48, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda pipe, latents: run_case(pipe, "noguide", **SHORT),
        lambda pipe, latents: pipe.decode(latents),
        lambda pipe, latents: list(pipe.decode_frames(latents)),
        lambda pipe, latents: pipe.encode_image(load_case("noguide")[1]),
        lambda pipe, latents: pipe.pose_features(load_case("noguide")[2][:1], 48, 64)([0]),
        lambda pipe, latents: pipe.prepare(*load_case("noguide")[1:3], (48, 64)),
    ],
    ids=["run", "decode", "decode_frames", "encode_image", "pose_features", "prepare"],
)
def test_interrupt_does_not_stick(pipe, latents, call):
    """With nothing under way there is nothing to stop."""
    pipe.interrupt()
    call(pipe, latents)


def test_interrupt_between_two_frames(pipe, latents):
    frames = pipe.decode_frames(latents)
    next(frames)
    pipe.interrupt()
    with pytest.raises(Interrupted):
        next(frames)
    assert len(list(pipe.decode_frames(latents))) == 3


def test_frames_that_nobody_takes_lock_nobody_out(pipe, latents):
    frames = pipe.decode_frames(latents)
    next(frames)
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(pipe.decode, latents, "np").result(timeout=60).shape[1] == 3
    assert len(list(frames)) == 2


def test_a_callback_may_use_the_pipeline(pipe):
    """As previews do: it has its turn within the run's."""
    seen = []

    def preview(pipe, step, timestep, values):
        seen.extend(pipe.decode(values["latents"][:, :, :1])[0])

    latents_of(pipe, callback_on_step_end=preview, **SHORT)
    assert len(seen) == 1


def test_a_run_within_a_run(pipe):
    """A callback may even animate: neither run disturbs the other."""
    alone = latents_of(pipe, **SHORT | {"num_inference_steps": 3})
    inner = []

    def nested(pipe, step, timestep, values):
        inner.append(latents_of(pipe, **SHORT))

    longer = SHORT | {"num_inference_steps": 3, "callback_on_step_end": nested}
    assert torch.equal(latents_of(pipe, **longer), alone)
    assert torch.equal(inner[0], inner[2])


def test_interrupt_of_a_thread_that_does_nothing(pipe, running):
    """Whoever cancels what waits for its turn does not stop the run that has it."""
    pipe.interrupt(threading.get_ident())
    running.go_on.set()
    assert torch.isfinite(running.result(timeout=60)).all()
