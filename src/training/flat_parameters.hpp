#pragma once

#include "bliss/comm/communicator.hpp"

#include <torch/torch.h>

#include <span>
#include <string>
#include <vector>

namespace bliss::training {

/// All parameters of a network in one block of memory, their gradients in a second: one reduction over ranks, one optimiser
/// step, one average. The network's own tensors become views.
class FlatParameters {
public:
    explicit FlatParameters(torch::nn::Module& network);

    [[nodiscard]] at::Tensor& values() { return values_; }

    void zero_gradients() { gradients_.zero_(); }

    /// Adds up the gradients of all ranks. @collective
    void sum_gradients(const comm::Communicator& comm) {
        comm.all_reduce_sum(std::span<float>{gradients_.data_ptr<float>(), static_cast<std::size_t>(gradients_.numel())});
    }

    /// Scales the gradients to the norm limit, takes a step, moves the average. Weight matrices (a convolution's rows are its
    /// output channels) take a step of Muon, with Nesterov momentum; all else one of Adam. Where the gradients are not finite nothing
    /// changes. @return norm before scaling
    double step(double learning_rate, double norm_limit, double average_decay);

    /// Exchanges the weights with their average, and back.
    void swap_average();

    /// Tensors that hold the whole state, by name; they share memory with this object.
    [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>> state();

    /// Continues the optimiser's count of steps.
    void set_step(std::int64_t step) { step_ = step; }

private:
    /// A weight matrix in the block: rows are output channels.
    struct Matrix {
        std::int64_t offset, rows, cols;
    };

    std::vector<Matrix> matrices_;
    at::Tensor values_;
    at::Tensor gradients_;
    at::Tensor average_;
    at::Tensor first_moment_;
    at::Tensor second_moment_;
    std::int64_t step_ = 0;
};

}  // namespace bliss::training
