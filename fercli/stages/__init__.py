"""What the commands do. A module that has the name of a command holds its `...Spec` and the function that carries it
out; the others are parts of these: `prepare`, `several`, `crossval` and `search` of `train`, most others of `predict`.
"""
