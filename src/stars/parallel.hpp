#pragma once

#include <cstdint>
#include <exception>

namespace bliss::stars {

/// Calls `work(state, k)` for k = 0 ... count - 1 on all threads, each with a state of its own. An exception ends the calls that have not
/// begun and is thrown here once the threads are done: it must not leave a parallel region.
template <class MakeState, class Work>
void parallel_for(std::int64_t count, const MakeState& make_state, const Work& work) {
    std::exception_ptr failure;
    bool failed = false;
#pragma omp parallel
    {
        const auto guarded = [&](const auto& call) {
            try {
                call();
            } catch (...) {
#pragma omp critical(bliss_stars_failure)
                if (!failure) failure = std::current_exception();
#pragma omp atomic write
                failed = true;
            }
        };
        decltype(make_state()) state{};
        guarded([&] { state = make_state(); });
#pragma omp for schedule(dynamic)
        for (std::int64_t k = 0; k < count; ++k) {
            bool stop = false;
#pragma omp atomic read
            stop = failed;
            if (!stop) guarded([&] { work(state, k); });
        }
    }
    if (failure) std::rethrow_exception(failure);
}

/// The same without a state.
template <class Work>
void parallel_for(std::int64_t count, const Work& work) {
    parallel_for(count, [] { return 0; }, [&](int, std::int64_t k) { work(k); });
}

}  // namespace bliss::stars
