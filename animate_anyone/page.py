"""A page in the browser: picture, pose video and settings in, the animated character out."""

import contextlib
import os
import random
from collections.abc import Iterable
from functools import partial
from mimetypes import guess_type
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from . import guard
from .base.layout import SCHEDULES
from .choices import ALIGNMENTS_SHOWN, FILES, FORMATS, SHAPES, SIDES, Outputs, Settings
from .handlers import begin, find, generate, show_inputs, switch
from .run.pipeline import OVAnimateAnyonePipeline

CLEANING = (3600, 86400)  # every hour, Gradio removes files older than a day

# Gradio's own colours and nameless buttons keep some people out (WCAG 1.4.3 and 4.1.2).
CSS = """
button.primary, button.stop {--button-primary-background-fill: #b93a07;
  --button-primary-background-fill-hover: #9a3006; --button-cancel-background-fill: #b91c1c;
  --button-cancel-background-fill-hover: #991b1b}
[role=tab].selected {color: #b93a07 !important}
.dark [role=tab].selected {color: #fdba74 !important}
.or, .max_value, .min_value, footer button, footer a {color: var(--body-text-color) !important}
"""
NAMES = """() => {
  const name = () => {
    for (const button of document.querySelectorAll("button.gallery-item")) {
      const source = button.querySelector("img, video")?.src ?? "";
      button.ariaLabel = "Example " + decodeURIComponent(source.split("/").pop());
    }
    for (const button of document.querySelectorAll("button:has(> .image-frame)"))
      button.ariaLabel = "Picture";
    for (const empty of document.querySelectorAll("div[aria-label='Empty value']"))
      empty.role = "img";
  };
  new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
  name();
}"""


def make_demo(pipeline_or_model_dir, examples: Iterable[Path] = ()) -> gr.Blocks:
    """The page, not yet launched. `launch` shows it on this machine alone unless told otherwise: it
    takes Gradio's arguments, and `allowed_hosts`, names under which the page may be called besides
    those of this machine and `server_name`.

    Args:
        pipeline_or_model_dir: a pipeline, or a folder that `convert_models` wrote, for the CPU.
        examples: pictures and pose videos to offer; files that do not exist are left out.
    """
    pipe = pipeline_or_model_dir
    if not isinstance(pipe, OVAnimateAnyonePipeline):
        pipe = OVAnimateAnyonePipeline.from_pretrained(pipe)
    offered = sorted(str(path) for path in examples if Path(path).is_file())
    guard.own_cache()
    with gr.Blocks(
        title="Animate", fill_width=True, analytics_enabled=False, delete_cache=CLEANING
    ) as demo:
        gr.Markdown("# Animate a character\nA picture shows who moves, a film how.")
        with gr.Row():
            with gr.Column(scale=3):
                chosen, seen, aids = _inputs(pipe, offered)
            with gr.Column(scale=2):
                buttons, shown = _results()
        _connect(
            pipe,
            guard.Files(demo.GRADIO_CACHE, offered),
            chosen,
            seen,
            aids,
            buttons,
            shown,
        )
    demo.preprocess_data = guard.in_our_words(demo.preprocess_data)
    demo.launch = partial(_launch, demo.launch)
    return demo


def _inputs(pipe, offered: list[str]):
    """What goes in: the components of `Settings`, the picture of what the model sees, the dice
    and the search for poses.
    """
    own = pipe.generation_config
    side = max(own.width or 0, own.height or 0) or 512  # that of Stable Diffusion 1.x
    shapes = ["recommended", "pose video", "reference image", *SHAPES]
    with gr.Row():
        reference = gr.Image(label="Reference image", sources="upload", height=240)
        pose = gr.Video(label="Film or pose video", sources="upload", height=240)
    with gr.Row():
        for kind, part in (("image", reference), ("video", pose)):
            files = [[path] for path in offered if str(guess_type(path)[0]).startswith(kind)]
            gr.Examples(files, [part], label=f"Example {kind}s", visible=bool(files))
    with gr.Row(equal_height=True):
        alignment = gr.Radio(
            ALIGNMENTS_SHOWN,
            value="automatic",
            label="Fit a film's poses to the character",
            scale=3,
        )
        search = gr.Button("Find poses", min_width=150, scale=1)
    seen = gr.Image(height=200, visible=False, interactive=False, buttons=[])
    with gr.Row():
        shape = gr.Dropdown(shapes, label="Shape of the result")
        longer = gr.Dropdown(sorted({side, *SIDES}), value=side, label="Longer side")
        fit = gr.Radio(["crop", "pad"], value="crop", label="Inputs of another shape")
    with gr.Row():
        steps = gr.Slider(1, 100, own.num_inference_steps, step=1, label="Steps")
        guidance = gr.Slider(1, 10, own.guidance_scale, step=0.1, label="Guidance")
    with gr.Row(equal_height=True):
        length = gr.Number(24, label="Length", min_width=80)
        unit = gr.Radio(["frames", "seconds"], value="frames", label="Unit", scale=2)
        seed = gr.Number(0, label="Seed", precision=0, min_width=80)
        dice = gr.Button("Another seed", min_width=150, scale=0)
    with gr.Accordion("Part of the video, files", open=False), gr.Row():
        start = gr.Number(0, label="Begin at second", minimum=0, min_width=80)
        fps = gr.Number(None, label="Frames per second (empty: as the video)", min_width=120)
        formats = gr.CheckboxGroup(list(FORMATS), label="Also write, besides mp4 and GIF")
        schedule = gr.Radio(SCHEDULES, value="open", label="The video (loop: it is to loop)")
    first = reference, pose, shape, longer, fit, length, unit, steps, guidance, seed
    chosen = Settings(*first, alignment, start, fps, formats, schedule)
    return chosen, seen, (dice, search)


def _results():
    """What comes out: the buttons, and the components of `Outputs` with the tabs that hold them."""
    with gr.Row():
        start = gr.Button("Generate", variant="primary")
        cancel = gr.Button("Cancel", variant="stop", interactive=False)
    status = gr.HTML("Choose an image and a video.", padding=True)
    preview = gr.Image(label="Preview", visible=False, height=400, buttons=[])
    player = {"autoplay": True, "loop": True, "height": 400}
    with gr.Tabs() as tabs:
        with gr.Tab("Result"):
            result = gr.Video(label="Result", show_label=False, **player)
            picture = gr.Image(label="Result", show_label=False, visible=False, height=400)
        with gr.Tab("Side by side"):
            panels = gr.Video(label="Side by side", show_label=False, **player)
        with gr.Tab("Downloads"):
            files = gr.File(label="Downloads", file_count="multiple", interactive=False)
        with gr.Tab("Settings"):
            used = gr.JSON(label="Settings", show_label=False)
    return (start, cancel, tabs), Outputs(status, preview, result, panels, files, used, picture)


def _connect(pipe, files: guard.Files, chosen: Settings, seen, aids, buttons, shown: Outputs):
    """What happens on which click. Each handler that gets an input gets it through `files`."""
    (start, cancel, tabs), (dice, search) = buttons, aids
    switched = [start, cancel, shown.preview, tabs]
    aside = {"show_progress": "hidden", "api_visibility": "private"}

    def sent(handler, names: Iterable[str]) -> dict:
        given = {name: getattr(chosen, name) for name in names}
        trusted = files.trusted(partial(handler, pipe), FILES)
        return {"fn": trusted, "inputs_kwargs": given, "preprocess": False}

    begun = start.click(**sent(begin, Settings._fields), outputs=[*switched, shown.status], **aside)
    run = begun.success(
        **sent(generate, Settings._fields),
        outputs=list(shown),
        api_name="generate",
        show_progress_on=shown.preview,
    )
    run.then(lambda: switch(running=False), outputs=switched, **aside)
    run.failure(lambda: "Stopped.", outputs=shown.status, **aside)
    searched = search.click(
        **sent(find, Settings._fields), outputs=[seen, shown.status], api_name="find_poses"
    )
    searched.failure(lambda: "Stopped.", outputs=shown.status, **aside)
    cancel.click(None, cancels=run)
    dice.click(lambda: random.randrange(2**32), outputs=chosen.seed, **aside)
    framing = Settings._fields[:5]
    for name in framing:
        getattr(chosen, name).change(**sent(show_inputs, framing), outputs=seen, **aside)


def _launch(launch, *, server_name=None, server_port=None, allowed_hosts=(), **options):
    """Gradio's `launch` for this machine alone, deaf to foreign hosts; raises ValueError or OSError
    where the port is none or taken.
    """
    if server_port is not None and not 1 <= server_port <= 65535:
        raise ValueError(f"server_port (--port) must be from 1 to 65535, got {server_port}")
    quiet = {"share": False, "run_history": False, "show_error": True, "quiet": True}
    quiet |= {"css": CSS, "js": NAMES, "ssr_mode": False}
    options = quiet | options | {"server_name": server_name, "server_port": server_port}
    app = dict(options.pop("app_kwargs", None) or {})
    if not options["share"]:  # whoever shares the page wants it to be called by another name
        given = (server_name, os.environ.get("GRADIO_SERVER_NAME"), *allowed_hosts)
        hosts = Middleware(guard.Hosts, [name for name in given if name])
        app["middleware"] = [hosts, *app.get("middleware", [])]
    with contextlib.nullcontext() if options["share"] else guard.without_proxies():
        try:
            return launch(app_kwargs=app, **options)
        except OSError as error:
            if "port" not in str(error):
                raise
            port = server_port or "from 7860 to 7959"
            raise OSError(f"server_port (--port) must be free, {port} is taken") from error
