"""What the commands do. A module named as a command is holds its `...Spec` and the function that carries it out. Those
of eval are in `evaluate` and `measure`, that of info is in `inspect`, that of predict in `labelling`, and the settings
of train in `trainspec`. The others are parts of these: `checkpoint`, `prepare`, `several`, `crossval` and `search` of
`train`, most others of `predict`.
"""
