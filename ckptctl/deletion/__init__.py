"""How checkpoints are deleted so that none is seen half done: `disk.py` and `bucket.py`.

`_base.py` says what a deleter is, `deleters.py` chooses one.  Each has a journal of what it began,
and a way to bring back what a grace still holds: a trash on disks, a schedule in buckets.
"""
