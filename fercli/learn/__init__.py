"""Training and inference over arrays, and the model store."""
