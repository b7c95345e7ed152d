#pragma once

#include "bliss/core/exact_sums.hpp"
#include "bliss/tile/one_thread.hpp"
#include "flat_parameters.hpp"

#include <omp.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace bliss::training {

/// ExactSums of gradients where these are: in the host's memory, or a GPU's.
class GradientSums {
public:
    /// @param fraction_bits see ExactSums
    GradientSums(std::int64_t size, int fraction_bits, c10::Device device);

    void clear();
    /// @param gradients (size), on the device @return whether all are finite and within the range; where not, nothing is added
    [[nodiscard]] bool add(const at::Tensor& gradients);
    /// Becomes the sum of others.
    void sum_of(const std::vector<const GradientSums*>& others);
    /// @return (size) float, on the device
    [[nodiscard]] at::Tensor read() const;

    /// The integers, to be added up over ranks: of the host ...
    [[nodiscard]] std::span<std::int64_t> on_host() { return host_->integers(); }
    /// ... or of the GPU (size); undefined where they are on the host.
    [[nodiscard]] at::Tensor on_device() const { return device_; }

private:
    std::optional<ExactSums> host_;
    at::Tensor device_;
    std::int64_t size_;
    int fraction_bits_;
};

/// What GradientSums does on a GPU, in operations on whole tensors. @return whether all terms could be added
[[nodiscard]] bool add_exactly(at::Tensor& integers, const at::Tensor& terms, int fraction_bits);

/// The gradients of one network in one thread's copy of it: of a piece of work, and the sum over pieces.
class ThreadGradients {
public:
    /// Makes the copy's parameters views of the weights. @param fraction_bits see ExactSums
    ThreadGradients(const FlatParameters& weights, torch::nn::Module& copy, int fraction_bits)
        : block_{weights.bind(copy)}, sums_{weights.size(), fraction_bits, block_.device()} {}

    /// Before a piece's backward pass.
    void begin_piece() { block_.zero_(); }
    /// After it. @return whether the gradients are finite; where not they are not added
    [[nodiscard]] bool end_piece() { return sums_.add(block_); }

    void clear() { sums_.clear(); }
    [[nodiscard]] const GradientSums& sums() const { return sums_; }

private:
    at::Tensor block_;
    GradientSums sums_;
};

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

    /// The same on the calling thread, one after the other, with gradients where the thread has them.
    template <class Make, class Work>
    void for_each_here(std::size_t count, const Make& make, const Work& work) {
        if (of_threads_.empty()) of_threads_.resize(1);
        if (!of_threads_.front()) of_threads_.front() = make();
        for (std::size_t k = 0; k < count; ++k) work(*of_threads_.front(), k);
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
