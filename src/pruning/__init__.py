"""Pruning: scores of channels, the choice of widths, slicing, and pruning in steps."""
