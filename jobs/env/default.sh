# What differs from site to site; copied to jobs/env/SITE.sh and named with BLISS_SITE=SITE. Here: nothing but the defaults.
# Modules the programs were built with go first, for example:
#   module load gcc/13 openmpi/4.1 hdf5/1.14-mpi

# Where the programs are.
BLISS_BIN=${BLISS_BIN:-$root/build/release/bin}

# Options of srun: how this site's MPI is started, and the rank's GPU where nodes have some (--gpus-per-task=1).
BLISS_SRUN=(--kill-on-bad-exit=1)

# One rank has the cores it asked for; srun does not take that from the job since SLURM 22.05.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
export OMP_PROC_BIND=false
