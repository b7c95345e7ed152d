#include "bliss/encoder/distributions.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bliss::encoder {
namespace {

const double k_half_ln_two_pi = 0.5 * std::log(2 * std::numbers::pi);

double normal_density(double z) { return std::exp(-0.5 * z * z - k_half_ln_two_pi); }
double upper_tail(double z) { return 0.5 * std::erfc(z / std::numbers::sqrt2); }

/// From here on out, in standard deviations, the asymptotic series of the upper tail is good.
constexpr double k_far = 12;
/// Tails whose logarithm is below this are compared by it.
constexpr double k_little_mass = -30;
/// No draw lies farther from the mean, in standard deviations, and halvings of an interval of that.
constexpr double k_farthest = 9;
constexpr int k_halvings = 40;

/// ln of the upper tail, relative error below 1e-5.
double log_upper_tail(double z) {
    if (z < k_far) return std::log(upper_tail(z));
    const double inverse = 1 / (z * z);
    return -0.5 * z * z - k_half_ln_two_pi - std::log(z) + std::log1p(-inverse + 3 * inverse * inverse);
}

}  // namespace

at::Tensor log_normal(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& sd) {
    const at::Tensor z = (x - mean) / sd;
    return -0.5 * z * z - torch::log(sd) - k_half_ln_two_pi;
}

at::Tensor log_normal_above(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& sd, double low) {
    const at::Tensor whole = log_normal(x, mean, sd);
    return std::isfinite(low) ? whole - torch::special::log_ndtr((mean - low) / sd) : whole;
}

at::Tensor log_normal_mass(const at::Tensor& a, const at::Tensor& b) {
    // By symmetry the interval is mirrored to the lower tail, where log_ndtr keeps its digits.
    const at::Tensor mirror = (a + b) > 0;
    const at::Tensor low = torch::where(mirror, -b, a);
    const at::Tensor high = torch::where(mirror, -a, b);
    const at::Tensor log_high = torch::special::log_ndtr(high);
    const at::Tensor log_ratio = (torch::special::log_ndtr(low) - log_high).clamp_max(-1e-7);
    return log_high + torch::log(-torch::expm1(log_ratio));
}

at::Tensor log_truncated_normal(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& sd) {
    return log_normal(x, mean, sd) - log_normal_mass(-mean / sd, (1 - mean) / sd);
}

TruncatedNormalCdf::TruncatedNormalCdf(double mean, double sd) : mirrored_{mean > 0.5}, mean_{mirrored_ ? 1 - mean : mean}, sd_{sd} {
    const double low = -mean_ / sd_;
    far_ = low >= k_far;
    low_tail_ = far_ ? log_upper_tail(low) : upper_tail(low);
    mass_ = mass_up_to(1);
}

double TruncatedNormalCdf::operator()(double x) const {
    const double share = std::clamp(mass_up_to(mirrored_ ? 1 - x : x) / mass_, 0.0, 1.0);
    return mirrored_ ? 1 - share : share;
}

double TruncatedNormalCdf::mass_up_to(double y) const {
    const double z = (y - mean_) / sd_;
    return far_ ? -std::expm1(log_upper_tail(z) - low_tail_) : 1 - upper_tail(z) / low_tail_;
}

Moments truncated_normal_moments(double mean, double sd) {
    if (mean > 0.5) {
        const Moments mirrored = truncated_normal_moments(1 - mean, sd);
        return {1 - mirrored.mean, mirrored.variance};
    }
    // With the mean in the lower half, the interval [a, b] has its dense end at a: differences of upper tails are accurate
    // unless the mean is so far below 0 that the density is an exponential of scale sd / a.
    const double a = -mean / sd;
    const double b = (1 - mean) / sd;
    if (a > 30) {
        const double scale = sd / a;
        const double tail = std::exp(-std::min(700.0, 1 / scale));
        return {std::min(0.5, scale) * (1 - tail), std::min(1.0 / 12, scale * scale)};
    }
    const double mass = upper_tail(a) - upper_tail(b);
    const double density_a = normal_density(a);
    const double density_b = normal_density(b);
    const double shift = (density_a - density_b) / mass;
    const double variance = 1 + (a * density_a - b * density_b) / mass - shift * shift;
    return {std::clamp(mean + sd * shift, 0.0, 1.0), sd * sd * std::max(variance, 1e-12)};
}

NormalAbove::NormalAbove(double mean, double sd, double low)
    : mean_{mean}, sd_{sd}, low_{low}, log_mass_{std::isfinite(low) ? log_upper_tail((low - mean) / sd) : 0} {}

double NormalAbove::cdf(double x) const {
    if (x <= low_) return 0;
    const double z = (x - mean_) / sd_;
    return log_mass_ > k_little_mass ? 1 - upper_tail(z) * std::exp(-log_mass_) : -std::expm1(log_upper_tail(z) - log_mass_);
}

double NormalAbove::quantile(double share) const {
    // By bisection, in logarithms of upper tails.
    const double log_tail = std::log1p(-share) + log_mass_;
    double below = std::isfinite(low_) ? (low_ - mean_) / sd_ : -k_farthest, above = std::max(below, 0.0) + k_farthest;
    for (int i = 0; i < k_halvings; ++i) {
        const double middle = 0.5 * (below + above);
        (log_upper_tail(middle) > log_tail ? below : above) = middle;
    }
    return mean_ + sd_ * 0.5 * (below + above);
}

Moments NormalAbove::moments() const {
    if (!std::isfinite(low_)) return {mean_, sd_ * sd_};
    const double a = (low_ - mean_) / sd_;
    const double hazard = std::exp(-0.5 * a * a - k_half_ln_two_pi - log_mass_);
    // Far out the density is an exponential of scale sd / a, and differences have no digits.
    if (a > k_far) return {low_ + sd_ / a * (1 - 2 / (a * a)), sd_ * sd_ / (a * a) * (1 - 6 / (a * a))};
    return {mean_ + sd_ * hazard, sd_ * sd_ * (1 + a * hazard - hazard * hazard)};
}

}  // namespace bliss::encoder
