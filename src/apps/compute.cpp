#include "bliss/core/version.hpp"
#include "bliss/simulator/runtime.hpp"
#include "command.hpp"

#include <fmt/format.h>
#include <torch/torch.h>
#include <torch/version.h>

#include <malloc.h>
#include <sched.h>

namespace bliss::apps {
namespace {

/// Cores this rank may use: those of its affinity mask, shared with the other ranks of the node when nothing bound them.
int cores_of_rank(const comm::Communicator& comm) {
    cpu_set_t set;
    CPU_ZERO(&set);
    const int allowed = ::sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return std::max(1, allowed / std::max(1, comm.size()));
}

}  // namespace

std::shared_ptr<void> start_compute(const Common& common, const comm::Communicator& comm) {
    int threads = common.threads;
    if (threads == 0 && std::getenv("OMP_NUM_THREADS") == nullptr) threads = cores_of_rank(comm);
    auto runtime = std::make_shared<simulator::Runtime>(threads);
    if (threads > 0) at::set_num_threads(threads);
    // Activations of tens of megabytes come and go with every layer: kept by the allocator, not returned to the system, they
    // need not be mapped and cleared again each time.
    ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
    ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
    // Gradual underflow costs a microcode assist a number; activations that small mean nothing.
    at::globalContext().setFlushDenormal(true);
    spdlog::info("compute: {} a rank, {} rank(s)", simulator::runtime_description(), comm.size());
    return runtime;
}

std::string library_versions() {
    return fmt::format("bliss-mpi {}\nLibTorch {}\nKokkos {}\n", k_program_version, TORCH_VERSION, simulator::kokkos_version());
}

}  // namespace bliss::apps
