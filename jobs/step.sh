# shellcheck shell=bash
# Sourced by the job scripts, with `output` set and the program's options as arguments: the program as a job step, what is new in `output`
# since this attempt began, and how a job queues itself again.

# When this attempt began, and the first one of the job, by the clock of the file system.
mkdir -p "${output:?}"
mark=$output/.job-$SLURM_JOB_ID
first=$mark.first
: >"$mark"
[ -e "$first" ] || : >"$first"
queued=0
trap 'rm -f "$mark" "$mark.begun"' EXIT

# Whether the program has written something since the file MARK was made.
written_since() { # MARK
    [ -n "$(find "$output" -type f -newer "$1" \( -name '*.journal' -o -name '*.safetensors' -o -name '*.h5' -o -name config.toml \
        -o -name run-report.json \) -print -quit)" ]
}

# step PROGRAM ARGUMENTS...: the program on all of the job's nodes; its status. Tried at most three times if it did not begin, which it says
# by a file of its own (where srun does not pass the environment on, what it writes says so):
# - srun may say that all is well though it has started nothing: of an attempt that was killed with its node, sockets are left in the spool
#   folder of slurmd that are in the way of the same step of the next attempt (SLURM 22.05 with PMIx). The next step has others.
# - A rank may crash while MPI starts, and srun ends the others: once in some hundred starts Open MPI 4.1.4 under SLURM gets a message over
#   TCP before it has said who takes it (a null pointer in MPI_Init). A warning (SIGUSR1), a program of another processor (SIGILL) and
#   what kill -9 ends are none of these, unless srun says 143 of the ranks that it ended with them.
step() {
    local status try option
    local -a command
    export BLISS_BEGUN_FILE=$mark.begun
    for try in 1 2 3; do
        status=0
        command=()
        for option in "$@"; do # what --fresh asks for is done once
            [ "$option" = --fresh ] && written_since "$first" || command+=("$option")
        done
        rm -f "$BLISS_BEGUN_FILE"
        srun "${BLISS_SRUN[@]}" "${command[@]}" || status=$?
        case " $* " in *" --dry-run "*) return "$status" ;; esac
        if [ -e "$BLISS_BEGUN_FILE" ] || written_since "$mark"; then return "$status"; fi
        case $status in
            0) echo "$(date -Is) step $try of the job was not started, though srun says that all is well" ;;
            134 | 135 | 139 | 143)
                echo "$(date -Is) step $try of the job was ended by a signal (status $status) before the program began"
                ;;
            *) return "$status" ;;
        esac
    done
    return "$((status == 0 ? 1 : status))"
}

# end_job STATUS: a job script's last line. Where the job is ended otherwise another attempt may follow, which has to know of the first.
end_job() {
    [ "$queued" = 1 ] || rm -f "$first"
    exit "$1"
}

# queue_again WHY: once more, with the same number of the job.
queue_again() {
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "${BLISS_MOST_RESTARTS:-100}" ]; then
        echo "$(date -Is) $1, the job queues itself again"
        queued=1
        scontrol requeue "$SLURM_JOB_ID"
    fi
}
