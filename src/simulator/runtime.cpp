#include "bliss/simulator/runtime.hpp"

#include "bliss/core/error.hpp"

#include <Kokkos_Core.hpp>
#include <fmt/format.h>

#include <cstdlib>

namespace bliss::simulator {

Runtime::Runtime(int threads, [[maybe_unused]] int rank_on_node) {
    // Unless the user binds threads, nobody does: several ranks of one node would else be bound to the same cores.
    ::setenv("OMP_PROC_BIND", "false", 0);
#if KOKKOS_VERSION >= 30700
    Kokkos::InitializationSettings settings;
    if (threads > 0) settings.set_num_threads(threads);
    settings.set_disable_warnings(true);  // about other ranks on this node: their threads are settled in apps
#ifdef KOKKOS_ENABLE_CUDA
    int gpus = 0;
    if (cudaGetDeviceCount(&gpus) != cudaSuccess || gpus == 0)
        throw Error("no GPU is seen, and this program's Kokkos was built for them: run it where one is, or build it with another Kokkos");
    settings.set_device_id(rank_on_node % gpus);
#endif
#else
    Kokkos::InitArguments settings;
    if (threads > 0) settings.num_threads = threads;
    settings.disable_warnings = true;  // about other ranks on this node: their threads are settled in apps
#endif
    Kokkos::initialize(settings);
}

Runtime::~Runtime() { Kokkos::finalize(); }

std::string runtime_description() {
    using Space = Kokkos::DefaultHostExecutionSpace;
    const bool more = Kokkos::DefaultExecutionSpace::name() != std::string{Space::name()};
    return fmt::format("{}, {} threads{}", Space::name(), Space().concurrency(),
                       more ? fmt::format("; {}", Kokkos::DefaultExecutionSpace::name()) : "");
}

std::string kokkos_version() {
    return fmt::format("{}.{}.{}", KOKKOS_VERSION / 10000, KOKKOS_VERSION / 100 % 100, KOKKOS_VERSION % 100);
}

}  // namespace bliss::simulator
