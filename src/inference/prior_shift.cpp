#include "bliss/inference/prior_shift.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bliss::inference {
namespace {

/// The slope of the ratio of densities is taken over this much ln flux.
constexpr double k_slope_step = 0.05;
/// Fluxes that the largest factor is looked for at, up to one that so small a share of sources is brighter than.
constexpr std::int64_t k_probes = 200;
constexpr double k_rarest = 1e-3;
/// Exponents that an estimate may come to.
constexpr double k_alpha_low = 0.05, k_alpha_high = 4;
/// An estimate of a flux law or a share of types needs at least so many sources.
constexpr double k_least_sources = 20;
constexpr double k_least_fraction = 0.01;

/// ln of a truncated Pareto's density per unit of ln flux, at its lower end.
double log_density_at_low(double alpha, double ln_span) { return std::log(alpha) - std::log1p(-std::exp(-alpha * ln_span)); }

}  // namespace

FieldPrior prior_above_limit(const simulator::PriorConfig& trained, double sources_per_tile) {
    const auto share = [&](double alpha) {
        return simulator::pareto_share_above(trained.label_flux_min_e, trained.flux_min_e, trained.flux_max_e, alpha);
    };
    const double stars = trained.star_fraction * share(trained.star_alpha);
    return {sources_per_tile, stars / simulator::labelled_share(trained), trained.star_alpha, trained.galaxy_alpha};
}

at::Tensor log_flux_density(const at::Tensor& ln_flux, double alpha, double ln_low, double ln_high) {
    return log_density_at_low(alpha, ln_high - ln_low) + alpha * ln_low - alpha * ln_flux;
}

PriorShift::PriorShift(const simulator::PriorConfig& trained, const FieldPrior& told, const FieldPrior& wanted)
    : told_{told}, wanted_{wanted}, rate_ratio_{wanted.sources_per_tile / told.sources_per_tile},
      reshapes_{wanted.star_fraction != told.star_fraction || wanted.star_alpha != told.star_alpha ||
                wanted.galaxy_alpha != told.galaxy_alpha},
      ln_low_{std::log(trained.label_flux_min_e)}, ln_high_{std::log(trained.flux_max_e)} {}

at::Tensor PriorShift::log_density(const FieldPrior& prior, const at::Tensor& ln_flux) const {
    return torch::logaddexp(std::log(prior.star_fraction) + log_flux_density(ln_flux, prior.star_alpha, ln_low_, ln_high_),
                            std::log1p(-prior.star_fraction) + log_flux_density(ln_flux, prior.galaxy_alpha, ln_low_, ln_high_));
}

at::Tensor PriorShift::log_ratio(const at::Tensor& ln_flux) const {
    const at::Tensor inside = ln_flux.clamp(ln_low_, ln_high_);  // beyond the limits a source has no prior to speak of
    return log_density(wanted_, inside) - log_density(told_, inside);
}

encoder::TilePosterior PriorShift::applied(const encoder::TilePosterior& q) const {
    if (!active()) return q;
    encoder::TilePosterior out = q;
    const std::int64_t max_sources = q.count_logits.size(1) - 1;
    out.count_logits = q.count_logits + torch::arange(max_sources + 1, torch::kFloat) * std::log(rate_ratio_);
    if (!reshapes_) return out;
    // r(f) ~ r(middle) exp(slope (ln f - middle)): a Normal times that is a Normal, moved by slope sd^2, of another weight.
    const bool cut = std::isfinite(q.ln_flux_low);
    const auto log_mass = [&](const at::Tensor& mean) { return torch::special::log_ndtr((mean - q.ln_flux_low) / q.ln_flux_sd); };
    at::Tensor middle = q.ln_flux_mean;
    if (cut) {
        const at::Tensor z = (q.ln_flux_low - q.ln_flux_mean) / q.ln_flux_sd;
        middle = middle + q.ln_flux_sd * torch::exp(-0.5 * z * z - 0.5 * std::log(2 * std::numbers::pi) - log_mass(q.ln_flux_mean));
    }
    const at::Tensor inside = middle.clamp(ln_low_ + k_slope_step, ln_high_ - k_slope_step);
    const at::Tensor slope = (log_ratio(inside + k_slope_step) - log_ratio(inside - k_slope_step)) / (2 * k_slope_step);
    const at::Tensor variance = q.ln_flux_sd * q.ln_flux_sd;
    out.ln_flux_mean = q.ln_flux_mean + slope * variance;
    at::Tensor weight = q.log_weight + log_ratio(middle) + slope * (q.ln_flux_mean - middle) + 0.5 * slope * slope * variance;  // (N, S, C)
    if (cut) weight = weight + log_mass(out.ln_flux_mean) - log_mass(q.ln_flux_mean);   // of what lies above the least flux
    const at::Tensor of_slot = torch::logsumexp(weight, 2);                                                      // (N, S)
    out.log_weight = weight - of_slot.unsqueeze(2);
    std::vector<at::Tensor> of_count{torch::zeros_like(of_slot.select(1, 0))};
    for (std::int64_t n = 1; n <= max_sources; ++n) {
        of_count.push_back(of_slot.slice(1, encoder::slot_index(n, 0), encoder::slot_index(n + 1, 0)).sum(1));
    }
    out.count_logits = out.count_logits + torch::stack(of_count, 1);
    return out;
}

double PriorShift::star(double p_star, double ln_flux_e) const {
    // Networks that never saw one of the types cannot tell them apart.
    if (!reshapes_ || told_.star_fraction <= 0 || told_.star_fraction >= 1) return p_star;
    const double above = std::clamp(ln_flux_e, ln_low_, ln_high_) - ln_low_, span = ln_high_ - ln_low_;
    const auto ln_density = [&](double alpha) { return log_density_at_low(alpha, span) - alpha * above; };
    const auto ln_odds = [&](const FieldPrior& prior) {
        return std::log(prior.star_fraction) - std::log1p(-prior.star_fraction) + ln_density(prior.star_alpha) -
               ln_density(prior.galaxy_alpha);
    };
    const double factor = std::exp(ln_odds(wanted_) - ln_odds(told_));
    return factor * p_star / (1 - p_star + factor * p_star);
}

double PriorShift::largest_factor() const {
    if (!reshapes_) return 1;
    double largest = 0;
    const auto look = [&](double told_share, double wanted_share, double told_alpha, double wanted_alpha) {
        if (told_share <= 0 || wanted_share <= 0) return;
        // Fluxes but for the rarest of the told prior.
        const double ln_highest = std::min(ln_high_, ln_low_ - std::log(k_rarest) / told_alpha);
        const at::Tensor ln_flux = torch::linspace(ln_low_, ln_highest, k_probes, torch::kDouble);
        const at::Tensor ratio = std::log(wanted_share / told_share) + log_flux_density(ln_flux, wanted_alpha, ln_low_, ln_high_) -
                                 log_flux_density(ln_flux, told_alpha, ln_low_, ln_high_);
        largest = std::max(largest, ratio.abs().max().item<double>());
    };
    look(told_.star_fraction, wanted_.star_fraction, told_.star_alpha, wanted_.star_alpha);
    look(1 - told_.star_fraction, 1 - wanted_.star_fraction, told_.galaxy_alpha, wanted_.galaxy_alpha);
    return std::exp(largest);
}

FieldPrior estimated_prior(std::span<const WeighedSource> sources, double expected, double tiles, const simulator::PriorConfig& trained,
                           const FieldPrior& present) {
    double stars = 0, galaxies = 0, star_ln = 0, galaxy_ln = 0;
    const double ln_low = std::log(trained.label_flux_min_e), ln_span = std::log(trained.flux_max_e) - ln_low;
    for (const WeighedSource& s : sources) {
        const double above = std::max(0.0, s.ln_flux_e - ln_low), star = s.p_source * s.p_star, galaxy = s.p_source * (1 - s.p_star);
        stars += star;
        galaxies += galaxy;
        star_ln += star * above;
        galaxy_ln += galaxy * above;
    }
    FieldPrior out = present;
    if (tiles > 0 && expected > 0) out.sources_per_tile = expected / tiles;
    const bool both_types = present.star_fraction > 0 && present.star_fraction < 1;
    if (both_types && stars + galaxies >= k_least_sources) {
        out.star_fraction = std::clamp(stars / (stars + galaxies), k_least_fraction, 1 - k_least_fraction);
    }
    if (stars >= k_least_sources) out.star_alpha = pareto_exponent(star_ln / stars, ln_span);
    if (galaxies >= k_least_sources) out.galaxy_alpha = pareto_exponent(galaxy_ln / galaxies, ln_span);
    return out;
}

double pareto_exponent(double mean_ln, double ln_span) {
    // The mean of ln(f / low) of the truncated law falls with its exponent.
    const auto mean = [&](double alpha) { return 1 / alpha - ln_span / std::expm1(alpha * ln_span); };
    double low = k_alpha_low, high = k_alpha_high;
    for (int i = 0; i < 60; ++i) {
        const double middle = 0.5 * (low + high);
        (mean(middle) > mean_ln ? low : high) = middle;
    }
    return 0.5 * (low + high);
}

}  // namespace bliss::inference
