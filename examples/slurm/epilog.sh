#!/bin/sh
# Epilog= of slurm.conf: root runs this on each node of a job when its processes there are gone.
#
# SLURM gives it no PATH, HOME or LANG, drains the node where it ends with anything but 0, and waits for it for ever
# unless PrologEpilogTimeout is set: set that to more than `limit` and 30 s.  So nothing here may fail, hang or print.
#
# What is pruned are the runs in the directory where the job was submitted, by the ckptctl.yaml there or above, else by
# /etc/ckptctl/config.yaml; without any of them nothing is (exit 2 in the log).

# ckptctl by its full path, and a directory of root for the logs
ckptctl=/opt/ckptctl/bin/ckptctl
logs=/var/log/ckptctl
# seconds after which a prune is ended; it begins nothing new after half of them
limit=60
# Where nodes have a disk of their own, the directory that holds one for each user (made on every node, by a prolog):
# what a job wrote to NVME/USER/NAME is then copied to the directory where it was submitted, by all nodes together.  NAME
# is the path of that directory below the first one called USER (/scratch/USER/expA/run: expA/run, and so is
# /home/USER/expA/run), or all of it where none is (/proj/llm/run: proj/llm/run).
nvme=
# or to TO/USER/NAME, where this is s3://bucket/ckpt or a @tier of `config`, which root alone need be able to read
to=
config=

PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 022
log=$logs/epilog.log
actions=$logs/epilog.jsonl
# true, since a shell ends where : cannot be redirected
if ! { true >>"$log" && true >>"$actions"; } 2>/dev/null; then
    log=/dev/null
    actions=/dev/null
fi

# From here on nobody reads a pipe of SLURM's.
{
    code=0
    # --lock-wait: the other nodes of the job are here too.  Without --as-user root would follow what users wrote.
    timeout -k 5 "$limit" "$ckptctl" prune -r "$SLURM_JOB_WORK_DIR" --as-user "$SLURM_JOB_USER" -q \
        --lock-wait "$((limit / 2))s" --timeout "$((limit / 2))s" --log-file "$actions" >/dev/null || code=$?
    echo "$(date +%FT%T%z) job $SLURM_JOB_ID of $SLURM_JOB_USER on $SLURMD_NODENAME: prune ended with $code"

    # What may take long has to outlive this script: in a session of its own, with none of its three streams.  It is
    # there before the copy begins, and this waits for that: slurmd kills what is still in the epilog's process group.
    # No process of the job is left here that may still write: nothing has to settle.
    if [ -n "$nvme" ] && [ -d "$nvme/$SLURM_JOB_USER" ]; then
        work=${SLURM_JOB_WORK_DIR%/}
        case $work in
        */"$SLURM_JOB_USER"/*) name=${work#*/"$SLURM_JOB_USER"/} ;;
        *) name=${work#/} ;;
        esac
        case /$name/ in
        */../* | */./* | *//*) # it would lead elsewhere
            echo "job $SLURM_JOB_ID of $SLURM_JOB_USER: $SLURM_JOB_WORK_DIR is no plain path; nothing was copied" ;;
        *)
            # A node may have nothing of the run; what is above it has to be there.  The user makes it: root follows no link.
            above=$nvme/$SLURM_JOB_USER/$name
            above=${above%/*}
            [ -d "$above" ] || timeout -k 5 "$limit" setpriv --reuid "$SLURM_JOB_USER" \
                --regid "$(id -g "$SLURM_JOB_USER")" --init-groups mkdir -p "$above"
            target=${to:+$to/$SLURM_JOB_USER/$name}
            setsid sh -c '"$@" &' sh timeout -k 30 6h "$ckptctl" sync --part node "$nvme/$SLURM_JOB_USER/$name" \
                "${target:-$SLURM_JOB_WORK_DIR}" --as-user "$SLURM_JOB_USER" ${config:+-c "$config"} -q \
                --settle 0s --lock-wait 1h --log-file "$actions" </dev/null >/dev/null 2>>"$log" ;;
        esac
    fi
} </dev/null >>"$log" 2>&1
exit 0
