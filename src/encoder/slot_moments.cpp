#include "bliss/encoder/slot_moments.hpp"

#include "bliss/encoder/distributions.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace bliss::encoder {
namespace {

/// Sums of a mixture's moments.
class Mixture {
public:
    void add(double weight, double mean, double variance) {
        total_ += weight;
        first_ += weight * mean;
        second_ += weight * (variance + mean * mean);
    }
    [[nodiscard]] SlotMoments::Of moments() const {
        const double mean = first_ / total_;
        return {mean, std::sqrt(std::max(1e-12, second_ / total_ - mean * mean))};
    }

private:
    double total_ = 0, first_ = 0, second_ = 0;
};

}  // namespace

SlotMoments slot_moments(const TilePosterior& q, std::int64_t tile, std::int64_t slot) {
    Mixture u, v, ln_flux;
    const std::int64_t parts = q.log_weight.size(2), first = (tile * q.log_weight.size(1) + slot) * parts;
    const auto at = [](const at::Tensor& t, std::int64_t c) { return static_cast<double>(t.data_ptr<float>()[c]); };
    for (std::int64_t c = first; c < first + parts; ++c) {
        const double weight = std::exp(at(q.log_weight, c));
        const Moments of_u = truncated_normal_moments(at(q.u_mean, c), at(q.u_sd, c));
        const Moments of_v = truncated_normal_moments(at(q.v_mean, c), at(q.v_sd, c));
        u.add(weight, of_u.mean, of_u.variance);
        v.add(weight, of_v.mean, of_v.variance);
        const Moments of_ln_flux = NormalAbove{at(q.ln_flux_mean, c), at(q.ln_flux_sd, c), q.ln_flux_low}.moments();
        ln_flux.add(weight, of_ln_flux.mean, of_ln_flux.variance);
    }
    return {u.moments(), v.moments(), ln_flux.moments()};
}

}  // namespace bliss::encoder
