"""People in foreground masks, followed by the model's own log joint."""
