"""Batch normalisations folded into the layers before them: the same answers from fewer operations."""

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval


def fold_norms(network: nn.Module) -> nn.Module:
    """`network`, in evaluation mode, without the normalisations that stand right behind a convolution or dense layer.

    The networks of `fercli.models` define a normalisation behind the layer to which they apply it; a test holds them to
    it. What is left behind another layer stays.
    """
    for parent in list(network.modules()):
        for (name, layer), (behind, norm) in pairwise(parent.named_children()):
            fuse = _fuse(layer, norm)
            if fuse is not None:
                setattr(parent, name, fuse(layer, norm))
                setattr(parent, behind, nn.Identity())
    return network


def _fuse(layer: nn.Module, norm: nn.Module):
    if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        return fuse_conv_bn_eval
    if isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
        return fuse_linear_bn_eval
    return None
