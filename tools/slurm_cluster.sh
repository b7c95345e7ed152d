#!/usr/bin/env bash
# A SLURM cluster of several nodes on this one machine, to try the jobs under jobs/ as they run on a real one. Needs root: it starts
# munged, slurmctld and one slurmd a node, each with a host name, a /tmp and a /dev/shm of its own, so that ranks on two "nodes" meet
# as little as on two machines.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
    cat <<'TEXT'
usage: tools/slurm_cluster.sh start|stop|status [--folder DIR] [--nodes N] [--cpus N] [--port P]
  --folder DIR  of configuration, state and logs; not under /tmp, of which each node has its own (default: build/slurm)
  --nodes N     nodes (default 2)        --cpus N   cores that each says it has (default: all of this machine's)
  --port P      of the controller; the nodes' follow (default 17000)
start installs slurm-wlm and munge where they are not there, and prints what to export before sbatch and srun.
TEXT
}

command=${1:-}
[ $# -gt 0 ] && shift
folder=$root/build/slurm
nodes=2
cpus=$(nproc)
port=17000
while [ $# -gt 0 ]; do
    case $1 in
        --folder) folder=$(realpath -m "${2:?--folder needs a directory}"); shift 2 ;;
        --nodes) nodes=${2:?}; shift 2 ;;
        --cpus) cpus=${2:?}; shift 2 ;;
        --port) port=${2:?}; shift 2 ;;
        -h | --help) usage; exit 0 ;;
        *) echo "slurm_cluster: unknown option '$1'" >&2; usage >&2; exit 2 ;;
    esac
done
conf=$folder/slurm.conf
export SLURM_CONF=$conf

say() { printf 'slurm_cluster: %s\n' "$*" >&2; }
die() { printf 'slurm_cluster: error: %s\n' "$*" >&2; exit 1; }

install_slurm() {
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
    command -v apt-get >/dev/null || die "SLURM and munge are not installed, and there is no apt-get here"
    say "installing slurm-wlm and munge"
    apt-get update -q >/dev/null
    env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends slurm-wlm munge >/dev/null
}

# A pid file's process, if it lives: one that was killed may stay as a zombie for a while, and its number may be another program's now.
alive() {
    [ -s "$1" ] && grep -qsxE 'munged|slurmctld|slurmd' "/proc/$(cat "$1")/comm" &&
        grep -qsE '^State:[[:space:]]+[^ZX[:space:]]' "/proc/$(cat "$1")/status"
}

start_munge() {
    alive "$folder/munge/munged.pid" && return
    mkdir -p "$folder/munge"
    [ -s "$folder/munge/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom >"$folder/munge/munge.key")
    chown -R munge: "$folder/munge"
    chmod 755 "$folder/munge"
    # Its folder may lie where munge finds parents too open; --force lets it warn instead of ending.
    runuser -u munge -- munged --force --key-file="$folder/munge/munge.key" --socket="$folder/munge/munge.socket" \
        --pid-file="$folder/munge/munged.pid" --log-file="$folder/munge/munged.log" --seed-file="$folder/munge/munged.seed" \
        >"$folder/munged.out" 2>&1 || die "munged does not start: $(tail -1 "$folder/munged.out"); can user munge reach $folder?"
}

# A job that was queued again may begin once its old credential has expired: here after seconds, by default after two minutes.
write_conf() {
    local host
    host=$(hostname -s)
    cat >"$conf" <<TEXT
ClusterName=bliss
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=pmix
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
SlurmdTimeout=30
SchedulerParameters=sched_interval=2
InactiveLimit=0
JobRequeue=1
NodeName=node[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + nodes))] CPUs=$cpus State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
TEXT
}

# How many nodes answer, with or without a job on them.
nodes_up() { sinfo -h -N -o %T 2>/dev/null | grep -cxE 'idle|allocated|mixed|completing' || true; }

start() {
    [ "$(id -u)" = 0 ] || die "needs root"
    case $folder in /tmp | /tmp/*) die "--folder may not be under /tmp: each node has a /tmp of its own" ;; esac
    install_slurm
    mkdir -p "$folder/state"
    start_munge
    write_conf
    alive "$folder/slurmctld.pid" || slurmctld -f "$conf"
    local n
    for ((n = 1; n <= nodes; ++n)); do
        alive "$folder/slurmd-node$n.pid" && continue
        # What ran on it is gone: said here, SLURM queues it again at once, else when it finds out, minutes later.
        [ ! -d "$folder/spool-node$n" ] || scontrol update NodeName="node$n" State=DOWN Reason="was killed"
        mkdir -p "$folder/spool-node$n"
        unshare -m -u sh -c "hostname node$n && mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm && exec slurmd -f '$conf' -N node$n"
    done
    for ((n = 0; n < 300; ++n)); do
        [ "$(nodes_up)" = "$nodes" ] && break
        sleep 0.2
    done
    [ "$(nodes_up)" = "$nodes" ] || die "the nodes are not up after 60 s: $(sinfo -h -N -o '%N %T' | tr '\n' ' '); see $folder/*.log"
    say "$nodes nodes are up"
    echo "export SLURM_CONF=$conf"
}

stop() {
    local pid
    for pid in "$folder"/slurmd-*.pid "$folder/slurmctld.pid" "$folder/munge/munged.pid"; do
        alive "$pid" || continue
        kill "$(cat "$pid")" 2>/dev/null || true
    done
    for ((n = 0; n < 50; ++n)); do
        for pid in "$folder"/slurmd-*.pid "$folder/slurmctld.pid" "$folder/munge/munged.pid"; do alive "$pid" && sleep 0.1 && continue 2; done
        break
    done
    for pid in "$folder"/slurmd-*.pid "$folder/slurmctld.pid" "$folder/munge/munged.pid"; do
        ! alive "$pid" || die "process $(cat "$pid") of $pid does not end; end it with kill -9"
    done
    say "stopped"
}

case $command in
    start) start ;;
    stop) stop ;;
    status) sinfo -N -l && squeue ;;
    -h | --help) usage ;;
    *) usage >&2; exit 2 ;;
esac
