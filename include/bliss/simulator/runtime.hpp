#pragma once

#include <memory>
#include <string>

namespace bliss::simulator {

/// Starts Kokkos for the life of the object; one per process, made in main before anything is rendered.
class Runtime {
public:
    /// @param threads OpenMP threads; 0 leaves the choice to OMP_NUM_THREADS
    /// @param rank_on_node where Kokkos runs on GPUs, ranks of a node take these in turn
    explicit Runtime(int threads, int rank_on_node = 0);
    ~Runtime();
    Runtime(const Runtime&) = delete;
    Runtime& operator=(const Runtime&) = delete;
};

/// "OpenMP, 2 threads", for the log.
[[nodiscard]] std::string runtime_description();

/// Kokkos version, "3.4.1".
[[nodiscard]] std::string kokkos_version();

}  // namespace bliss::simulator
