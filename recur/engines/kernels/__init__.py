"""Kernels over all time steps, compiled from the declaration of a cell. Nothing here is public."""
