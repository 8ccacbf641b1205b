"""The embedded data: images with known truth."""
