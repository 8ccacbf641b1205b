"""The one loop, what it minimises and what it may change."""
