"""What a network reads of a store."""

from torch import nn


def columns(network: nn.Module) -> tuple[str, ...]:
    """The columns that the forward of `network` takes, in its order: its `inputs`, or ("image",) where it has none."""
    return getattr(network, "inputs", ("image",))
