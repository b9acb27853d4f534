"""Batch normalisations by what the network is asked, not by what it was last taught.

The means and variances that a network keeps are an average over its latest steps, while its weights still moved, and
over augmented pictures alone. Precise BN (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3) takes them
anew over the training rows when the weights are done. Every second batch is left without augmentation here, as what the
network will answer is.
"""

import torch
from torch import nn

from .batches import Batches
from .inputs import answer
from .shared import places
from .step import Rule


def norms_of(rule: Rule) -> list[nn.Module]:
    """The batch normalisations of the network that `rule` trains, without those that are frozen."""
    return [
        layer
        for layer in rule.network.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer not in rule.frozen
    ]


@torch.no_grad()
def estimate_norms(rule: Rule, batches: Batches, epoch: int) -> None:
    """Means and variances of the network of `rule` anew over all rows of `batches`: their means over the batches, of
    which the first, the third and so on are augmented.

    What is random is as in training epoch `epoch`. The network is left in evaluation mode. Of several processes each
    computes its part of a batch, as in training.
    """
    rule.network.eval()
    norms = norms_of(rule)
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    order = batches.order(epoch).to(batches.device)
    drawn = {name: values.to(batches.device) for name, values in batches.draw(epoch).items()}
    try:
        for step, where in enumerate(order.split(batches.sizes), start=1):
            for norm in norms:
                norm.train()
                norm.momentum = 1 / step  # the mean over all steps so far
            mine = where[places(len(where), where.device)]
            inputs, _ = batches.gather(mine, drawn if step % 2 else {})
            with torch.autocast(batches.device.type, torch.bfloat16, enabled=rule.bfloat16):
                answer(rule.network, rule.normalise, inputs)
    finally:
        batches.close()
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(tracked)  # it tells of training
            norm.eval()
