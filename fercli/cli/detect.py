"""`fer detect`."""

from typing import Any

import click

from ..layouts.video import is_clip
from ..stages import runner, video
from ..stages.detect import DetectSpec, run, settled, weights_digest
from ..stages.opening import expanded
from ..stages.runner import Stage
from . import options
from .console import Console
from .stage import run_stage, tell


@click.command("detect")
@options.stage(DetectSpec)
def command(**arguments: Any) -> None:
    """Find faces in photos and crop them to gray squares.

    IN are stores of photos, or videos, in which faces are followed from frame to frame; or globs of either.

    \b
      fer ingest photos/ | fer detect -o faces.h5
      fer detect --detector mtcnn --align photos.h5 -o faces.h5
      fer detect clip.mp4 --keep all -o faces.h5
      fer detect --detector none --size 48 crops.h5 -o faces.h5
    """
    console = click.get_current_context().find_object(Console)
    spec = settled(options.given(DetectSpec, arguments), runner.Log(interface=console))
    arguments["inputs"] = tuple(expanded(arguments["inputs"]))
    if not any(map(is_clip, arguments["inputs"])):
        run_stage(Stage("detect", run, named=weights_digest), spec, arguments)
        return
    clips = video.clips_of(arguments["inputs"])
    runner.check_output((*arguments["inputs"], *spec.files), arguments["output"])
    outcome = runner.run(
        Stage("detect", video.detect_clips),
        clips,
        arguments["output"],
        spec,
        runner.Log(arguments["on_error"], console),
        digests=lambda: [*(clip.digest() for clip in clips), *weights_digest(spec)],
        force=arguments["force"],
        dry_run=arguments["dry_run"],
    )
    tell(console, outcome)
