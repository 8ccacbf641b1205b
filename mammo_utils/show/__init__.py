"""Figures, a module a notebook, and widgets, each a thin skin on a figure function."""
