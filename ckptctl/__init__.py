"""ckptctl: the whole life of checkpoint directories, from the command line."""

__version__ = "0.1.0"
