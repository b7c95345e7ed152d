#pragma once

#include "bliss/comm/communicator.hpp"

#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

namespace bliss::training {

/// All parameters of a network in one block of memory, with the state of its optimiser and their average. The network moves to the device,
/// and its own tensors become views.
class FlatParameters {
public:
    explicit FlatParameters(torch::nn::Module& network, c10::Device device = torch::kCPU);

    [[nodiscard]] at::Tensor& values() { return values_; }
    [[nodiscard]] std::int64_t size() const { return values_.numel(); }
    [[nodiscard]] c10::Device device() const { return values_.device(); }

    /// Makes the parameters of a network of the same kind views of these values, with gradients of their own: several threads can then each
    /// have such a copy. @return its gradients, in one block like the values
    at::Tensor bind(torch::nn::Module& network) const;

    /// Scales the gradients to the norm limit, takes a step, moves the average. Weight matrices (a convolution's rows are its
    /// output channels) take a step of Muon, with Nesterov momentum; all else one of Adam. Where the gradients are not finite nothing
    /// changes. Ranks share the matrices, on GPUs rank 0 takes all; the bits depend on neither ranks nor threads.
    /// @param gradients (size()) float, on the device, the same on all ranks; they are changed @return norm before scaling @collective
    double step(const at::Tensor& gradients, double learning_rate, double norm_limit, double average_decay, const comm::Communicator& comm);

    /// Exchanges the weights with their average, and back.
    void swap_average();

    /// Tensors that hold the whole state, by name; they share memory with this object.
    [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>> state() const;

    /// Steps that the optimiser has taken.
    [[nodiscard]] std::int64_t steps() const { return step_; }
    void set_steps(std::int64_t steps) { step_ = steps; }

private:
    /// A weight matrix in the block: rows are output channels.
    struct Matrix {
        std::int64_t offset, rows, cols;

        [[nodiscard]] std::int64_t size() const { return rows * cols; }
        /// What Muon's step of it is multiplied by.
        [[nodiscard]] double step() const;
    };

    /// What a step's elementwise parts need.
    struct Rates {
        float gradient_scale, correction1, correction2, learning_rate, average_share;
    };
    [[nodiscard]] Rates rates(double norm, double norm_limit, double learning_rate, double average_decay) const;

    /// Scales the gradients, moves the moments on, and makes `update_` Adam's step.
    void take_in(const at::Tensor& gradients, const Rates& rates);
    /// Puts the steps of this rank's matrices into `update_`, then all ranks'. @collective
    void orthogonalize(const at::Tensor& gradients, const comm::Communicator& comm);
    /// The same on a GPU: all together, by rank 0. @collective
    void orthogonalize_together(const at::Tensor& gradients, const comm::Communicator& comm);
    [[nodiscard]] static at::Tensor part(const at::Tensor& block, const Matrix& matrix);
    /// What Muon makes a step of.
    [[nodiscard]] at::Tensor direction(const at::Tensor& gradients, const Matrix& matrix) const;
    /// Moves the weights and their average.
    void move(const Rates& rates);

    /// Which matrices each rank takes the step of, about as much work for each.
    [[nodiscard]] std::vector<std::vector<Matrix>> shared_over(int ranks) const;

    std::vector<Matrix> matrices_;  ///< the largest first
    at::Tensor values_;
    at::Tensor average_;
    at::Tensor first_moment_;
    at::Tensor second_moment_;
    at::Tensor update_;
    std::int64_t step_ = 0;
};

}  // namespace bliss::training
