"""Judgements of a trained model, beside its evidence."""
