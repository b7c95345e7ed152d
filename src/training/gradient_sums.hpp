#pragma once

#include "bliss/comm/pending_sum.hpp"
#include "bliss/core/exact_sums.hpp"
#include "bliss/tile/one_thread.hpp"
#include "flat_parameters.hpp"

#include <omp.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace bliss::training {

/// The gradients of one network in one thread's copy of it: of a piece of work, and the sum over pieces.
class ThreadGradients {
public:
    /// Makes the copy's parameters views of the weights. @param fraction_bits see ExactSums
    ThreadGradients(const FlatParameters& weights, torch::nn::Module& copy, int fraction_bits)
        : block_{weights.bind(copy)}, sums_{static_cast<std::size_t>(weights.size()), fraction_bits} {}

    /// Before a piece's backward pass.
    void begin_piece() { block_.zero_(); }
    /// After it. @return whether the gradients are finite; where not they are not added
    [[nodiscard]] bool end_piece() { return sums_.add({block_.data_ptr<float>(), static_cast<std::size_t>(block_.numel())}); }

    void clear() { sums_.clear(); }
    [[nodiscard]] const ExactSums& sums() const { return sums_; }

private:
    at::Tensor block_;
    ExactSums sums_;
};

/// Begins to add up a network's gradients over threads and ranks. @param total gets the sums @collective
[[nodiscard]] std::unique_ptr<comm::PendingSum> begin_sum(ExactSums& total, const std::vector<const ExactSums*>& of_threads,
                                                          const comm::Communicator& comm);

/// What each thread has of its own, made when the thread first needs it.
template <class T>
class PerThread {
public:
    /// Calls `work(own, k)` for k = 0 ... count - 1, each wholly on one thread, with what `make` made for that thread.
    template <class Make, class Work>
    void for_each(std::size_t count, const Make& make, const Work& work) {
        of_threads_.resize(std::max(of_threads_.size(), static_cast<std::size_t>(omp_get_max_threads())));
        tile::for_each_on_one_thread(static_cast<std::int64_t>(count), [&](std::int64_t k) {
            std::unique_ptr<T>& own = of_threads_[static_cast<std::size_t>(omp_get_thread_num())];
            if (!own) own = make();
            work(*own, static_cast<std::size_t>(k));
        });
    }

    /// Calls `work(own)` for every thread that has something.
    template <class Work>
    void for_all(const Work& work) {
        for (const auto& own : of_threads_) {
            if (own) work(*own);
        }
    }

private:
    std::vector<std::unique_ptr<T>> of_threads_;
};

}  // namespace bliss::training
