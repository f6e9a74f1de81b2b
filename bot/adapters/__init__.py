"""Adapters on disk: which there are, whether one may serve, and how several mix."""
