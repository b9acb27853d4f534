"""`fer ingest`."""

from typing import Any

import click

from ..layouts import get, names
from ..stages import runner
from ..stages.ingest import IngestSpec, digests, resolve, run
from . import options
from .console import Console
from .stage import tell

_LAYOUTS = "\b\nLayouts:\n" + "\n".join(f"  {name:<10}  {get(name).TITLE}" for name in names())


@click.command("ingest", epilog=_LAYOUTS)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...", shell_complete=options.files, callback=options.all_named)
@options.files_from
@options.null
@options.run(IngestSpec)
def command(sources: tuple[str, ...], files_from: str | None, null: bool, **arguments: Any) -> None:
    """Read a published data set, a folder, an archive, a csv or photos into a store.

    A folder may have one sub-folder a class, below or above train, val and test if there are such. A csv may list
    photos: a column path, seen from its folder, and one label. Archives (zip, tar, tar.gz, tar.xz) are read in place.
    synthetic:2000 draws 2,000 faces, synthetic:20:scenes 20 photos of several.

    \b
      fer ingest faces/ -o faces.h5
      fer ingest fer2013.csv --ferplus fer2013new.csv -o fer.h5
      find photos -name '*.jpg' | fer ingest --files-from - | fer detect -o faces.h5
    """
    console = click.get_current_context().find_object(Console)
    spec, found = options.given(IngestSpec, arguments), resolve(sources, files_from, null)
    runner.check_output((*sources, files_from, *spec.files), arguments["output"])
    outcome = runner.run(
        runner.Stage("ingest", run),
        found,
        arguments["output"],
        spec,
        runner.Log(arguments["on_error"], console),
        digests=lambda: digests(found, spec),
        force=arguments["force"],
        dry_run=arguments["dry_run"],
    )
    tell(console, outcome)
