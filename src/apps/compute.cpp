#include "bliss/comm/environment.hpp"
#include "bliss/core/version.hpp"
#include "bliss/fits/file.hpp"
#include "bliss/h5/reader.hpp"
#include "bliss/simulator/runtime.hpp"
#include "bliss/survey/wcs.hpp"
#include "command.hpp"

#include <fmt/format.h>
#include <omp.h>
#include <torch/torch.h>
#include <torch/version.h>

#include <malloc.h>
#include <sched.h>

#include <cstdlib>
#include <string>

namespace bliss::apps {
namespace {

/// Cores this rank may use: those of its affinity mask, shared with the ranks of its node whose masks overlap it. @collective
int cores_of_rank(const comm::Communicator& comm) {
    cpu_set_t mine;
    CPU_ZERO(&mine);
    ::sched_getaffinity(0, sizeof mine, &mine);  // a mask too small for this machine stays empty: one thread
    int sharing = 0;
    for (const cpu_set_t& other : comm.node().all_gather(mine)) {
        cpu_set_t common;
        CPU_AND(&common, &mine, &other);
        sharing += CPU_COUNT(&common) > 0 ? 1 : 0;
    }
    return std::max(1, CPU_COUNT(&mine) / std::max(1, sharing));
}

}  // namespace

std::shared_ptr<void> start_compute(const Common& common, const comm::Communicator& comm) {
    int threads = common.threads;
    const int cores = cores_of_rank(comm);
    if (threads == 0 && std::getenv("OMP_NUM_THREADS") == nullptr) threads = cores;
    // Gradual underflow costs a microcode assist a number; activations that small mean nothing. Threads started later inherit it.
    at::globalContext().setFlushDenormal(true);
    auto runtime = std::make_shared<simulator::Runtime>(threads, comm.node().rank());
    // Not at::set_num_threads: it fixes MKL's threads too, also inside parallel regions, where products of matrices would then be cut for
    // as many.
    // MKL's own number, which LibTorch takes for OpenMP's when it is first used, is one under mpirun where the environment does not say.
    if (threads > 0) {
        ::setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);
        omp_set_num_threads(threads);
    }
    // Activations of tens of megabytes come and go with every layer: kept by the allocator, not returned to the system, they
    // need not be mapped and cleared again each time.
    ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
    ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
    spdlog::info("compute: {} a rank, {} rank(s)", simulator::runtime_description(), comm.size());
    return runtime;
}

std::string library_versions() {
    return fmt::format("bliss-mpi {}\nLibTorch {}\nKokkos {}\nMPI {}\nHDF5 {}\nCFITSIO {}\nwcslib {}\n", k_program_version, TORCH_VERSION,
                       simulator::kokkos_version(), comm::library_version(), h5::library_version(), fits::library_version(),
                       survey::wcslib_version());
}

}  // namespace bliss::apps
