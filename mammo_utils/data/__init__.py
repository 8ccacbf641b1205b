"""From a file on disk to a tidy table, to arrays, to batches."""
