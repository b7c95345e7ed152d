#pragma once

#include <ATen/core/Tensor.h>

/// Densities of the variational factors, elementwise on tensors of one shape.
namespace bliss::encoder {

/// ln density of a Normal truncated to [0, 1]; its mass never leaves the tile, and it can be steep at a border.
/// @param mean, sd of the Normal before truncation; mean may lie outside [0, 1]
[[nodiscard]] at::Tensor log_truncated_normal(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& sd);

/// ln density of a Normal.
[[nodiscard]] at::Tensor log_normal(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& sd);

/// ln(Phi(b) - Phi(a)) for a < b, accurate in both tails and differentiable.
[[nodiscard]] at::Tensor log_normal_mass(const at::Tensor& a, const at::Tensor& b);

/// Distribution function of a Normal truncated to [0, 1], accurate wherever its mean lies. @param x in [0, 1]
[[nodiscard]] double truncated_normal_cdf(double x, double mean, double sd);

/// Mean and variance of a Normal truncated to [0, 1].
struct Moments {
    double mean = 0;
    double variance = 0;
};
[[nodiscard]] Moments truncated_normal_moments(double mean, double sd);

}  // namespace bliss::encoder
