"""Copy checkpoints from one store to another: whole, or invisible there."""
