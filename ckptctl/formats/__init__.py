"""How a checkpoint looks: one file per framework.  `_base.py` says what a format is."""
