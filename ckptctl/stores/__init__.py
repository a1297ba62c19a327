"""Where bytes live: one file per kind of store.  `_base.py` says what a store is."""
