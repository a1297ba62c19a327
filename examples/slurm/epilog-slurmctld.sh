#!/bin/sh
# EpilogSlurmctld= of slurm.conf: SlurmUser runs this once for each job, on the controller.
#
# It must not prune, copy, move or "finish" anything of the job: it starts the moment the job is told to end, while
# tasks on the nodes still write (for seconds, or as long as one cannot be killed), and where it runs their disks are not.
# That SLURM_JOB_EXIT_CODE is 0 proves nothing: so it is for jobs that were cancelled, requeued or out of time.
# What runs on each node after its last process is Epilog=: epilog.sh.  Here is only noted which directories a later
# look (cron, `ckptctl status`, `ckptctl apply`) should not leave out.

ended=/var/spool/ckptctl/ended

printf '%s %s %s %s\n' "$(date +%FT%T%z)" "$SLURM_JOB_ID" "$SLURM_JOB_USER" "$SLURM_JOB_WORK_DIR" \
    2>/dev/null >>"$ended" </dev/null || :
exit 0
