"""Pictures of trained models on their test videos, which recipes choose from."""
