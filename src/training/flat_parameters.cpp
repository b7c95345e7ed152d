#include "flat_parameters.hpp"

#include <algorithm>
#include <cmath>

namespace bliss::training {
namespace {

// Adam's usual constants (Kingma and Ba 2015).
constexpr double k_beta1 = 0.9;
constexpr double k_beta2 = 0.999;
constexpr double k_epsilon = 1e-8;

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
        offset += parameter.numel();
    }
    average_ = values_.clone();
}

double FlatParameters::step(double learning_rate, double norm_limit, double average_decay) {
    const torch::NoGradGuard no_grad;
    const double norm = gradients_.norm().item<double>();
    if (norm > norm_limit) gradients_.mul_(norm_limit / norm);
    ++step_;
    const double correction1 = 1 - std::pow(k_beta1, static_cast<double>(step_));
    const double correction2 = 1 - std::pow(k_beta2, static_cast<double>(step_));
    first_moment_.lerp_(gradients_, 1 - k_beta1);
    second_moment_.mul_(k_beta2).addcmul_(gradients_, gradients_, 1 - k_beta2);
    const at::Tensor denominator = (second_moment_ / correction2).sqrt_().add_(k_epsilon);
    values_.addcdiv_(first_moment_, denominator, -learning_rate / correction1);
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
