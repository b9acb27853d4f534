"""What several processes make together, as numbers that one process gives too. torchrun runs this as a module, and
process 0 prints them as JSON.
"""

import copy
import json
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from fercli.cli import end
from fercli.learn import ranks
from fercli.learn.augment import Augment
from fercli.learn.batches import Batches
from fercli.learn.heads import HeadsLoss
from fercli.learn.mix import Mix
from fercli.learn.normalise import Normalise
from fercli.learn.optimizer import Ascent
from fercli.learn.shared import SharedLoss, answered, share_norms
from fercli.learn.step import Epochs, Rule
from fercli.learn.teach import Teachers
from fercli.ops.augment import Recipe
from fercli.stages.runner import Log
from fercli.stages.sharing import merged, mine
from fercli.store import objects

CPU = torch.device("cpu")
ROWS, SIDE = 13, 8  # steps of 7 and 6 rows: shares of 4 and 3, and of 4 and 2
WEIGHTS = torch.tensor([0.5, 1.0, 2.0])


def network(outputs=3, seed=0):
    torch.manual_seed(seed)
    maps = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*maps, nn.Linear(4 * 6 * 6, 8), nn.BatchNorm1d(8), nn.Linear(8, outputs))


def loss(weight=None, smoothing=0.1):
    if ranks.size() > 1:
        return SharedLoss(weight, smoothing)
    return nn.CrossEntropyLoss(weight, label_smoothing=smoothing)


def trained(labels, criterion, outputs=3, ascent=False, **rule):
    """Losses, right answers and all numbers of the network, and of the average, after an epoch."""
    rng = np.random.Generator(np.random.PCG64(5))
    images = rng.integers(0, 256, (ROWS, SIDE, SIDE), dtype=np.uint8)
    learner = share_norms(network(outputs))
    average = copy.deepcopy(learner).requires_grad_(False)
    optimizer = torch.optim.SGD(learner.parameters(), 0.1, momentum=0.9)
    climb = Ascent(learner.parameters(), 0.05) if ascent else None
    normalise = Normalise([100.0], [60.0])
    step = Rule(learner, normalise, optimizer, criterion, ascent=climb, average=average, decay=0.5, **rule)
    moved = Augment(Recipe(rotation=20, horizontal_flip=True, seed=1), np.arange(ROWS), SIDE)
    batches = Batches((images,), labels, batch=7, seed=3, device=CPU, augment=moved)
    epochs = Epochs(step, batches)
    for _ in epochs.run(1, [0.1, 0.05]):
        pass
    numbers = [values.double().reshape(-1) for one in (learner, average) for values in one.state_dict().values()]
    return [*ranks.total(epochs.losses).tolist(), ranks.total(epochs.hits).item(), *torch.cat(numbers).tolist()]


def plain():
    return trained(np.arange(ROWS) % 3, loss())


def weighed():
    return trained(np.arange(ROWS) ** 2 % 3, loss(WEIGHTS), clip=0.1)


def votes():
    shares = np.random.Generator(np.random.PCG64(6)).dirichlet([1, 1, 1], ROWS).astype(np.float32)
    return trained(shares, loss(WEIGHTS), ascent=True)


def mixed():
    return trained(np.arange(ROWS) % 3, loss(), mix=Mix(0.4, 1.0, 3, SIDE, 2))


def heads():
    codes = np.stack([np.arange(ROWS) % 4 - 1, np.arange(ROWS) // 2 % 3 - 1], axis=1)
    return trained(codes, HeadsLoss((3, 2), (WEIGHTS, None), 0.1), outputs=5, widths=(3, 2))


def taught():
    teacher = SimpleNamespace(network=network(seed=9).eval(), normalise=Normalise([100.0], [60.0]))
    return trained(np.arange(ROWS) % 3, loss(), teachers=Teachers([teacher], 0.7, 2.0))


def answers():
    """Of many rows, and of fewer than there are processes."""
    values = np.arange(10.0).reshape(5, 2)
    return [answered(lambda part: values[part] + 1, 5).tolist(), answered(lambda part: values[:1][part], 1).tolist()]


def blocks():
    """Rows labelled in turns of 4, of which some fail, in the order in which they come out."""
    log, names = Log("skip"), [f"\udce4 {number}.png" for number in range(23)]

    def made():
        own = mine(23, 4)
        for start in range(0, len(own), 4):
            numbers = own[start : start + 4]
            log.failures += [(names[number], "bad") for number in numbers if number % 5 == 0]
            yield {"parent": numbers, "source": objects(names[number] for number in numbers)}

    found = [(int(one), name) for block in merged(made(), log) for one, name in zip(*block.values(), strict=True)]
    return [found, log.failures]


def found():
    return {one.__name__: one() for one in (plain, weighed, votes, mixed, heads, taught, answers, blocks)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    ranks.join(lambda: end(1))
    told = found()
    if ranks.writes():
        print(json.dumps(told))
    ranks.leave()
    end(0)
