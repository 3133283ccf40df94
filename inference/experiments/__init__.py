"""Recipes at work: train, restart, evaluate, compare, render."""
