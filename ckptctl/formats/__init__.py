"""How a checkpoint looks: one file per framework.  `_base.py` says what a format is."""

DIRECTORIES = frozenset(
    {
        "accelerate", "deepspeed", "hf_trainer", "levanter", "lightning_dirs", "llama_factory",
        "megatron", "nanotron", "nemo_rl", "olmo", "olmo_core", "openrlhf", "orbax", "paddlenlp",
        "peft", "ray_train", "ray_tune", "speechbrain", "tensor_folder", "torch_dcp", "torchtitan",
        "torchtune", "verl",
    }
)  # fmt: skip
"""Modules whose formats only know directories: in one that holds files alone they are not imported.

A format that is not named here is asked everywhere, so that a new one need not be.
"""
