"""What to keep: one file per rule, and the guards beside them."""
