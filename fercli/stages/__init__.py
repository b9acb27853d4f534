"""What the commands do. A module named as a command is holds its `...Spec` and the function that carries it out
(`evaluate` those of eval, `inspect` the one of info, `trainspec` the settings of train); the others are parts of these:
`checkpoint`, `prepare`, `several`, `crossval` and `search` of `train`, most others of `predict`.
"""
