#pragma once

#include <cstdint>
#include <exception>

namespace bliss::simulator {

/// Calls `work(k)` for k = 0 ... count - 1, shared over the threads of whoever asks; within a parallel region by the calling thread alone.
/// (Kokkos' loops let one thread in at a time, whoever asks.) @throws what the first that failed threw, once all ended
template <class Work>
void for_each_on_host(std::int64_t count, const Work& work) {
    std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic)
    for (std::int64_t k = 0; k < count; ++k) {
        try {
            work(k);
        } catch (...) {
#pragma omp critical(bliss_simulator_failure)
            if (!failure) failure = std::current_exception();
        }
    }
    if (failure) std::rethrow_exception(failure);
}

}  // namespace bliss::simulator
