"""The record made provable: trees, tiles, proofs, signed notes and checkpoints, and the log held against them."""
