"""Grids of runs, results on disk, claims and verdicts."""
