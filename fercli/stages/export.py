"""`export`: a model store in, a file for other programs out. torch is imported when the stage runs, not before."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, UsageError
from ..spec import Spec, flag_of, option
from ..store import Reader, check_stdout, open_store, replacing, to_stdout
from .runner import Log, Outcome, check_output, check_replaced, key, provenance_entry

if TYPE_CHECKING:
    from ..learn.export import Shell
    from ..learn.modelstore import Model

FORMATS = ("onnx", "safetensors")
_EITHER = " or ".join(FORMATS)
#: Operator sets that torch writes in every version that fercli takes.
OPSETS = (13, 20)
#: Known to ONNX Runtime since 1.12 (2022), and to programs of about that age.
OPSET = 17


@dataclass(frozen=True)
class ExportSpec(Spec):
    """Settings of `fer export`."""

    format: str | None = option(None, "Form of the file. [default: by the name of OUT]", choices=FORMATS)
    opset: int | None = option(
        None, f"ONNX operator set, {OPSETS[0]} to {OPSETS[1]}. [default: {OPSET}]", low=OPSETS[0], high=OPSETS[1]
    )
    preprocessing: bool = option(
        False, "The ONNX file takes images as stores hold them, uint8 (N, H, W) or (N, H, W, channels), and normalises."
    )
    softmax: bool = option(False, "The ONNX file answers with probabilities, calibrated as the model is, not logits.")
    heads: tuple[str, ...] = option(
        (), "A further head whose answers the ONNX file gives too, as an output of its own.", metavar="NAME"
    )


def export(
    model: str, output: str, spec: ExportSpec, log: Log, *, force: bool = False, dry_run: bool = False
) -> Outcome:
    """Writes the model store `model` to `output`, where nothing changes if the file is the one asked for already.

    Raises UsageError for an output whose form is not told, settings that the form does not have, and without `force`
    where something else is there; DataError for no model, a missing package, and a file that answers otherwise than the
    model.
    """
    spec = settled(spec, output)
    if output == "-":
        check_stdout("a model", f"FILE.{spec.format}")
    else:
        check_output([model], output)
    outcome = Outcome("export", output)
    with open_store(model, "model") as src:
        recorded = None if force or output == "-" else _recorded_key(output, spec.format)
        if recorded is not None and recorded == key("export", spec, src.digests):
            outcome.up_to_date = True
            return outcome
        if not force:
            check_replaced(output, f"{spec.format} file of fer export", lambda: recorded is not None)
        if dry_run:
            outcome.dry_run = True
        else:
            _write(output, _made(src, spec, log))
    outcome.facts = log.facts
    return outcome


def settled(spec: ExportSpec, output: str) -> ExportSpec:
    """The settings with nothing left open. Raises UsageError where the name of `output` does not tell the form, or a
    setting has no meaning in it.
    """
    form = spec.format or os.path.splitext(output)[1].lower().removeprefix(".")
    if form not in FORMATS:
        if output == "-":
            raise UsageError(f"standard output has no name to tell the form: add --format {_EITHER}, or -o FILE")
        raise UsageError(
            f"the name {output} does not tell the form: end it with .onnx or .safetensors, or add --format {_EITHER}"
        )
    if form == "onnx":
        return replace(spec, format=form, opset=spec.opset or OPSET)
    for name in ("opset", "preprocessing", "softmax", "heads"):
        if getattr(spec, name):
            raise UsageError(f"{flag_of(name)} is about ONNX, and safetensors hold weights alone: leave it out")
    return replace(spec, format=form)


def _made(src: Reader, spec: ExportSpec, log: Log) -> bytes:
    """The file of a model store."""
    import torch

    from ..learn import export, modelstore
    from ..learn.safetensors import as_safetensors

    heads = spec.heads if spec.format == "onnx" else [head.name for head in modelstore.read_card(src).heads]
    model = modelstore.load(src, torch.device("cpu"), heads=heads)
    chain = [*src.provenance, provenance_entry("export", spec, src.digests, 0)]
    metadata = export.facts(model, chain)
    if spec.format == "safetensors":
        weights = {name: torch.as_tensor(values) for name, values in src.arrays("weights").items()}
        return as_safetensors(weights, {"format": "pt", **metadata})
    shell = export.Shell(spec.preprocessing, spec.softmax)
    data = export.to_onnx(model, shell, spec.opset, metadata)
    _check(data, model, shell, log)
    return data


def _check(data: bytes, model: "Model", shell: "Shell", log: Log) -> None:
    """Compares an ONNX file with its model. Raises DataError if it answers otherwise."""
    from ..learn import export

    found = export.deviation(data, model, shell)
    log.facts = {"deviation": found, "tolerance": export.TOLERANCE}
    if found is None:
        log.note(f"onnxruntime is missing, so the file is not compared with the model: {export.INSTALL}")
    elif not found <= export.TOLERANCE:
        raise DataError(
            f"the ONNX file answers otherwise than the model, by {found:.2g} where {export.TOLERANCE:g} may be: "
            f"try another --opset"
        )
    else:
        log.note(f"its answers in ONNX Runtime lie within {found:.1g} of the model's ({export.TOLERANCE:g} may be)")


def _recorded_key(path: str, form: str) -> str | None:
    """The key in a file that fer export made; None for any other file, or none."""
    from ..learn.export import onnx_metadata
    from ..learn.safetensors import read_safetensors

    if not Path(path).exists():
        return None
    try:
        metadata = onnx_metadata(path) if form == "onnx" else read_safetensors(Path(path))[1]
        return json.loads(metadata["provenance"])[-1]["key"]
    except Exception:  # whatever is there, and however it is damaged, is not the file asked for
        return None


def _write(output: str, data: bytes) -> None:
    if output != "-":
        with replacing(Path(output)) as part:
            part.write_bytes(data)
        return
    to_stdout(data)
