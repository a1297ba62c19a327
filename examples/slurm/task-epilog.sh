#!/bin/sh
# TaskEpilog= of slurm.conf, or srun --task-epilog: the user's own, in the job's environment and directory, at the end of
# each task; what it prints is in the job's output.  For those who cannot ask for an epilog of root.
#
# It runs once for each task, and once more for the batch script: one of them prunes.  Other tasks may still write; what
# is being saved is kept.  SLURM kills what takes long here: no place for copies.

ckptctl=/opt/ckptctl/bin/ckptctl

[ "${SLURM_PROCID:-0}" = 0 ] || exit 0
unset PYTHONPATH PYTHONHOME # those of the training
timeout -k 5 30 "$ckptctl" prune -r . -q --lock-wait 10s </dev/null >&2 || echo "ckptctl prune ended with $?" >&2
exit 0
