#pragma once

#include <ATen/core/Tensor.h>

/// Densities of the variational factors, elementwise on tensors of one shape.
namespace bliss::encoder {

/// ln density of a Normal truncated to [0, 1]; its mass never leaves the tile, and it can be steep at a border.
/// @param mean, sd of the Normal before truncation; mean may lie outside [0, 1]
[[nodiscard]] at::Tensor log_truncated_normal(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& sd);

/// ln density of a Normal.
[[nodiscard]] at::Tensor log_normal(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& sd);

/// ln density of a Normal without what lies below `low`, which may be minus infinity.
[[nodiscard]] at::Tensor log_normal_above(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& sd, double low);

/// ln(Phi(b) - Phi(a)) for a < b, accurate in both tails and differentiable.
[[nodiscard]] at::Tensor log_normal_mass(const at::Tensor& a, const at::Tensor& b);

/// Distribution function of a Normal truncated to [0, 1], accurate wherever its mean lies.
class TruncatedNormalCdf {
public:
    /// @param mean, sd of the Normal before truncation; mean may lie outside [0, 1]
    TruncatedNormalCdf(double mean, double sd);

    /// @param x in [0, 1]
    [[nodiscard]] double operator()(double x) const;

private:
    [[nodiscard]] double mass_up_to(double y) const;

    bool mirrored_;   ///< 1 - x is looked at, so that the interval's dense end is its low one
    double mean_;     ///< then at most 0.5
    double sd_;
    bool far_;        ///< the interval is so far out that only logarithms of tails have digits
    double low_tail_; ///< upper tail, or its logarithm, at the low end
    double mass_;     ///< in units of that tail
};

/// Mean and variance.
struct Moments {
    double mean = 0;
    double variance = 0;
};

/// Of a Normal truncated to [0, 1].
[[nodiscard]] Moments truncated_normal_moments(double mean, double sd);

/// A Normal without what lies below `low`, accurate wherever its mean lies.
class NormalAbove {
public:
    /// @param mean, sd of the Normal before truncation @param low may be minus infinity
    NormalAbove(double mean, double sd, double low);

    /// Share below x.
    [[nodiscard]] double cdf(double x) const;
    /// Value with this share below it, 0 < share < 1.
    [[nodiscard]] double quantile(double share) const;
    [[nodiscard]] Moments moments() const;

private:
    double mean_, sd_, low_;
    double log_mass_;   ///< of what is left
};

}  // namespace bliss::encoder
