#include "flat_parameters.hpp"

#include "bliss/training/muon.hpp"

#include <algorithm>
#include <cmath>

namespace bliss::training {
namespace {

// Adam's usual constants (Kingma and Ba 2015).
constexpr double k_beta1 = 0.9;
constexpr double k_beta2 = 0.999;
constexpr double k_epsilon = 1e-8;

// Muon's step of a weight matrix, root mean square against Adam's step of one, and the least side of a matrix it is used for:
// thin matrices (outputs, conditioning) have too few directions to even out.
constexpr double k_matrix_step = 0.5;
constexpr std::int64_t k_least_matrix_side = 48;

/// A view of part of a block with the shape and the memory order of `like`.
at::Tensor view_like(const at::Tensor& block, std::int64_t offset, const at::Tensor& like) {
    return block.slice(0, offset, offset + like.numel()).as_strided(like.sizes(), like.strides(), offset);
}

}  // namespace

FlatParameters::FlatParameters(torch::nn::Module& network) {
    std::int64_t total = 0;
    for (const auto& parameter : network.parameters()) total += parameter.numel();
    values_ = torch::zeros({total});
    gradients_ = torch::zeros({total});
    first_moment_ = torch::zeros({total});
    second_moment_ = torch::zeros({total});
    std::int64_t offset = 0;
    const torch::NoGradGuard no_grad;
    for (auto& parameter : network.parameters()) {
        const at::Tensor view = view_like(values_, offset, parameter);
        view.copy_(parameter);
        parameter.set_data(view);
        parameter.mutable_grad() = view_like(gradients_, offset, parameter);
        const std::int64_t rows = parameter.size(0), cols = parameter.numel() / rows;
        if (std::min(rows, cols) >= k_least_matrix_side) matrices_.push_back({offset, rows, cols});
        offset += parameter.numel();
    }
    average_ = values_.clone();
}

double FlatParameters::step(double learning_rate, double norm_limit, double average_decay) {
    const torch::NoGradGuard no_grad;
    const double norm = gradients_.norm().item<double>();
    if (!std::isfinite(norm)) return norm;
    if (norm > norm_limit) gradients_.mul_(norm_limit / norm);
    ++step_;
    const double correction1 = 1 - std::pow(k_beta1, static_cast<double>(step_));
    const double correction2 = 1 - std::pow(k_beta2, static_cast<double>(step_));
    first_moment_.lerp_(gradients_, 1 - k_beta1);
    second_moment_.mul_(k_beta2).addcmul_(gradients_, gradients_, 1 - k_beta2);
    const at::Tensor denominator = (second_moment_ / correction2).sqrt_().add_(k_epsilon);
    at::Tensor update = (first_moment_ / correction1).div_(denominator);  // Adam's
    for (const Matrix& matrix : matrices_) {
        const auto part = [&](const at::Tensor& block) {
            return block.slice(0, matrix.offset, matrix.offset + matrix.rows * matrix.cols).view({matrix.rows, matrix.cols});
        };
        const double scale = k_matrix_step * std::sqrt(static_cast<double>(std::max(matrix.rows, matrix.cols)));
        part(update).copy_(orthogonalized(torch::lerp(part(gradients_), part(first_moment_), k_beta1))).mul_(scale);
    }
    values_.sub_(update, learning_rate);
    // Early on the average follows the weights closely, so that it forgets the random start.
    const double decay = std::min(average_decay, (1.0 + static_cast<double>(step_)) / (10.0 + static_cast<double>(step_)));
    average_.lerp_(values_, 1 - decay);
    return norm;
}

void FlatParameters::swap_average() {
    const torch::NoGradGuard no_grad;
    const at::Tensor held = values_.clone();
    values_.copy_(average_);
    average_.copy_(held);
}

std::vector<std::pair<std::string, at::Tensor>> FlatParameters::state() {
    return {{"values", values_}, {"average", average_}, {"first_moment", first_moment_}, {"second_moment", second_moment_}};
}

}  // namespace bliss::training
