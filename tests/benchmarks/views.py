"""What averaging over views of a face gives: accuracy and log loss on training pictures that were held out.

    python -m tests.benchmarks.views FER2013.h5 [MODEL [PRECISION]]

Held out are the rows of train on whose pixels the model was not trained. Settings of `ops.views` are chosen by it.
"""

import sys

import numpy as np

from fercli.models.shipped import model_path
from fercli.ops.views import VIEWS
from fercli.stages.predict import Predictor, PredictSpec
from fercli.store import SPLIT_CODES, open_store


def main(data: str, model: str = "default", precision: str = "float32") -> None:
    with open_store(data) as src:
        images, label, digest = (src.column(name) for name in ("image", "label", "digest"))
        train = src.column("split") == SPLIT_CODES["train"]
    for name in VIEWS:
        predictor = Predictor.load(model_path(model), PredictSpec(tta=name, precision=precision))
        known = {one.tobytes() for one in predictor.model.trained_on}
        rows = np.flatnonzero(train & [one.tobytes() not in known for one in digest])
        told = predictor.answering.of_inputs([images[rows]], digest[rows])
        loss = -np.log(told["probability"][np.arange(len(rows)), label[rows]]).mean()
        right = (told["predicted"] == label[rows]).mean()
        print(f"{name:<6}{100 * right:6.2f} % of {len(rows):,}, log loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
