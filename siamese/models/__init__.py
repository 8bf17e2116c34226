"""Encoder, comparator, losses, the pair model that trains them, and the model folder."""
