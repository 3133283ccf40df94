"""Pictures of trained models on their test videos; each recipe lists the ones it draws."""
