#pragma once

#include <ATen/Parallel.h>
#include <omp.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace bliss::tile {

/// Calls `work(k)` for k = 0 ... count - 1, shared over the threads as they ask, each call wholly on one of them and without gradients.
/// A network's sums are cut differently for different numbers of threads; on one thread a call gives the same bits anywhere.
template <class Work>
void for_each_on_one_thread(std::int64_t count, const Work& work) {
    std::atomic<std::int64_t> next = 0;
    // A range of one is run outside any parallel region, where the network would use all threads: it is made a range of two.
    at::parallel_for(0, std::max<std::int64_t>(2, std::min<std::int64_t>(count, at::get_num_threads())), 1,
                     [&](std::int64_t, std::int64_t) {
                         const torch::NoGradGuard no_grad;
                         // Convolutions cut their sums for as many threads as there might be, also where only one computes. Inside a
                         // parallel region this setting is the region's own.
                         if (omp_in_parallel() != 0) omp_set_num_threads(1);
                         for (std::int64_t k = next++; k < count; k = next++) work(k);
                     });
}

}  // namespace bliss::tile
