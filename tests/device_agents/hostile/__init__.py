"""Hostile files, made as they are needed."""
