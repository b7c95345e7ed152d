#include "block.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bliss::stars {
namespace {

/// Stars split into two this far apart (Normal in x and in y); those farther apart than the second do not join.
constexpr double k_split_sd_px = 1, k_split_reach_px = 2.5;

/// ln of the density of a split's distance; what falls beyond the reach is not done.
double log_split_density(double dx, double dy) {
    constexpr double var = k_split_sd_px * k_split_sd_px;
    return -0.5 * (dx * dx + dy * dy) / var - std::log(2 * std::numbers::pi * var);
}

}  // namespace

Block::Block(StarImage& image, const StarPrior& prior, const Region& region, std::vector<LitStar> stars, RandomStream random)
    : image_{image}, prior_{prior}, region_{region}, stars_{std::move(stars)}, random_{random},
      level_e_{image.mean_level(region.x_begin, region.x_end, region.y_begin, region.y_end)} {}

void Block::run(std::int64_t steps, const StepShares& shares) {
    for (std::int64_t k = 0; k < steps; ++k) {
        const double u = random_.uniform();
        const bool up = random_.uniform() < 0.5;
        if (u < shares.shifts) {
            shift();
        } else if (u < shares.shifts + shares.exchanges) {
            exchange();
        } else if (u < shares.shifts + shares.exchanges + shares.splits_and_joins) {
            up ? split() : join();
        } else {
            up ? make() : remove();
        }
    }
}

bool Block::accepted(std::span<const LitStar> without, std::span<const LitStar> with, double log_ratio_of_rest) {
    const double log_ratio = image_.log_ratio(without, with, draft_) + log_ratio_of_rest;
    if (!(std::log(random_.uniform()) < log_ratio)) return false;
    image_.take(draft_);
    return true;
}

Block::Scale Block::scale(double flux_e, double size) const {
    // Errors of a star by itself on this level of light.
    const double sigma = image_.psf_sigma_px(), error = std::sqrt(4 * std::numbers::pi * sigma * sigma * level_e_) / flux_e;
    return {size * std::clamp(std::numbers::sqrt2 * sigma * error, 0.003, 0.6), size * std::clamp(error, 0.003, 0.7)};
}

std::vector<std::size_t>& Block::near(const Star& star, std::size_t self) {
    near_.clear();
    for (std::size_t k = 0; k < stars_.size(); ++k) {
        const double dx = stars_[k].star.x_px - star.x_px, dy = stars_[k].star.y_px - star.y_px;
        if (k != self && dx * dx + dy * dy < k_split_reach_px * k_split_reach_px) near_.push_back(k);
    }
    return near_;
}

void Block::shift() {
    if (stars_.empty()) return;
    constexpr double sizes[] = {1.0 / 3, 1, 3};
    LitStar& old = stars_[pick(stars_.size())];
    const double size = sizes[pick(3)];
    const Scale there = scale(old.flux_e, size);
    Star to = old.star;
    to.x_px += there.place_px * random_.normal();
    to.y_px += there.place_px * random_.normal();
    to.ln_flux_e += there.ln_flux * random_.normal();
    if (!allowed(to)) return;
    const LitStar lit = image_.lit(to);
    const Scale back = scale(lit.flux_e, size);
    const auto log_density = [&](const Scale& s) {
        const double dx = (to.x_px - old.star.x_px) / s.place_px, dy = (to.y_px - old.star.y_px) / s.place_px;
        const double df = (to.ln_flux_e - old.star.ln_flux_e) / s.ln_flux;
        return -0.5 * (dx * dx + dy * dy + df * df) - 2 * std::log(s.place_px) - std::log(s.ln_flux);
    };
    const double rest = prior_.log_density(to.ln_flux_e) - prior_.log_density(old.star.ln_flux_e) + log_density(back) - log_density(there);
    if (accepted({&old, 1}, {&lit, 1}, rest)) old = lit;
}

void Block::exchange() {
    if (stars_.empty()) return;
    const std::size_t i = pick(stars_.size());
    const auto& around = near(stars_[i].star, i);
    if (around.empty()) return;
    const std::size_t j = around[pick(around.size())];
    const LitStar old[] = {stars_[i], stars_[j]};
    const double total = static_cast<double>(old[0].flux_e) + static_cast<double>(old[1].flux_e), ln_total = std::log(total);
    const double share = std::exp(old[0].star.ln_flux_e - ln_total);
    const double to = share + std::clamp(3 * scale(total, 1).ln_flux, 0.01, 0.3) * random_.normal();
    if (to <= 0 || to >= 1) return;
    Star first = old[0].star, second = old[1].star;
    first.ln_flux_e = ln_total + std::log(to);
    second.ln_flux_e = ln_total + std::log1p(-to);
    if (!allowed(first) || !allowed(second)) return;
    const LitStar lit[] = {image_.lit(first), image_.lit(second)};
    double rest = std::log(share * (1 - share) / (to * (1 - to)));   // the share is stepped in, ln fluxes are what the prior is of
    for (const int k : {0, 1}) rest += prior_.log_density(lit[k].star.ln_flux_e) - prior_.log_density(old[k].star.ln_flux_e);
    if (!accepted(old, lit, rest)) return;
    stars_[i] = lit[0];
    stars_[j] = lit[1];
}

void Block::make() {
    const double span = -std::expm1(-prior_.alpha * (prior_.ln_flux_high - prior_.ln_flux_low));
    const Star star{random_.uniform(region_.x_begin, region_.x_end), random_.uniform(region_.y_begin, region_.y_end),
                    prior_.ln_flux_low - std::log1p(-random_.uniform() * span) / prior_.alpha};
    if (!allowed(star)) return;
    const LitStar lit = image_.lit(star);
    const auto n = static_cast<double>(stars_.size());
    if (accepted({}, {&lit, 1}, std::log(prior_.stars_per_px * region_.area() / (n + 1)))) stars_.push_back(lit);
}

void Block::remove() {
    if (stars_.empty()) return;
    const std::size_t i = pick(stars_.size());
    const auto n = static_cast<double>(stars_.size());
    if (!accepted({&stars_[i], 1}, {}, std::log(n / (prior_.stars_per_px * region_.area())))) return;
    stars_[i] = stars_.back();
    stars_.pop_back();
}

// A split star of flux F at X becomes two of fluxes s F and (1 - s) F, a vector d apart, with the same centre of light: the Jacobian from
// (X, ln F, s, d) to places and ln fluxes of both is 1 / (s (1 - s)). Each pair comes about in two ways, by either star being the first.

void Block::split() {
    if (stars_.empty()) return;
    const std::size_t i = pick(stars_.size());
    const LitStar old = stars_[i];
    const double share = random_.uniform(), dx = k_split_sd_px * random_.normal(), dy = k_split_sd_px * random_.normal();
    if (dx * dx + dy * dy >= k_split_reach_px * k_split_reach_px) return;
    const Star first{old.star.x_px + (1 - share) * dx, old.star.y_px + (1 - share) * dy, old.star.ln_flux_e + std::log(share)};
    const Star second{old.star.x_px - share * dx, old.star.y_px - share * dy, old.star.ln_flux_e + std::log1p(-share)};
    if (!allowed(first) || !allowed(second)) return;
    const LitStar lit[] = {image_.lit(first), image_.lit(second)};
    const auto n = static_cast<double>(stars_.size());
    const auto near_first = static_cast<double>(near(first, i).size() + 1);
    const auto near_second = static_cast<double>(near(second, i).size() + 1);
    const double log_join = std::log((1 / near_first + 1 / near_second) / (n + 1));
    const double log_split = std::log(2 * share * (1 - share) / n) + log_split_density(dx, dy);
    const double prior = std::log(prior_.stars_per_px) + prior_.log_density(first.ln_flux_e) + prior_.log_density(second.ln_flux_e) -
                         prior_.log_density(old.star.ln_flux_e);
    if (!accepted({&old, 1}, lit, prior + log_join - log_split)) return;
    stars_[i] = lit[0];
    stars_.push_back(lit[1]);
}

void Block::join() {
    if (stars_.size() < 2) return;
    const std::size_t i = pick(stars_.size());
    const auto& around = near(stars_[i].star, i);
    if (around.empty()) return;
    const auto near_first = static_cast<double>(around.size());
    const std::size_t j = around[pick(around.size())];
    const auto near_second = static_cast<double>(near(stars_[j].star, j).size());
    const LitStar old[] = {stars_[i], stars_[j]};
    const double total = std::exp(old[0].star.ln_flux_e) + std::exp(old[1].star.ln_flux_e), share = std::exp(old[0].star.ln_flux_e) / total;
    const double dx = old[0].star.x_px - old[1].star.x_px, dy = old[0].star.y_px - old[1].star.y_px;
    const Star whole{share * old[0].star.x_px + (1 - share) * old[1].star.x_px, share * old[0].star.y_px + (1 - share) * old[1].star.y_px,
                     std::log(total)};
    if (!allowed(whole)) return;
    const LitStar lit = image_.lit(whole);
    const auto n = static_cast<double>(stars_.size() - 1);
    const double log_join = std::log((1 / near_first + 1 / near_second) / (n + 1));
    const double log_split = std::log(2 * share * (1 - share) / n) + log_split_density(dx, dy);
    const double prior = std::log(prior_.stars_per_px) + prior_.log_density(old[0].star.ln_flux_e) +
                         prior_.log_density(old[1].star.ln_flux_e) - prior_.log_density(whole.ln_flux_e);
    if (!accepted(old, {&lit, 1}, log_split - log_join - prior)) return;
    stars_[i] = lit;
    stars_[j] = stars_.back();
    stars_.pop_back();
}

}  // namespace bliss::stars
