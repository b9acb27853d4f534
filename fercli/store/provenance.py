"""The provenance chain: one entry a stage, the first stage first."""

from typing import Any

from ..errors import DataError

#: What an entry says, by key. `inputs` are hex digests of the input's bytes; `key` is what the output depends on.
ENTRY = {"stage": str, "spec": dict, "version": str, "inputs": list, "rows": int, "failed": int, "key": str}


def check_chain(chain: Any, name: str) -> list[dict[str, Any]]:
    """The chain, as it was read from JSON. Raises DataError that tells the first entry that is not as `ENTRY` says."""
    if not isinstance(chain, list):
        raise DataError(f"{name} is damaged: its provenance is no list of stages")
    for place, entry in enumerate(chain):
        for key, kind in ENTRY.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
                raise DataError(f"{name} is damaged: entry {place} of its provenance has no proper {key!r}")
        if not all(isinstance(item, str) for item in entry["inputs"]):
            raise DataError(f"{name} is damaged: entry {place} of its provenance has no proper 'inputs'")
    return chain
