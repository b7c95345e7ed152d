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

void Block::polish() {
    for (LitStar& star : stars_) {
        Star to = image_.improved(star);
        to.ln_flux_e = std::clamp(to.ln_flux_e, prior_.ln_flux_low, prior_.ln_flux_high);
        if (!region_.holds(to)) continue;
        const LitStar lit = image_.lit(to);
        if (image_.log_ratio({&star, 1}, {&lit, 1}, draft_) <= 0) continue;
        image_.take(draft_);
        star = lit;
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

std::vector<std::size_t>& Block::near(const Star& star, std::size_t self, std::size_t other) {
    near_.clear();
    for (std::size_t k = 0; k < stars_.size(); ++k) {
        const double dx = stars_[k].star.x_px - star.x_px, dy = stars_[k].star.y_px - star.y_px;
        if (k != self && k != other && dx * dx + dy * dy < k_split_reach_px * k_split_reach_px) near_.push_back(k);
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

// Flux goes from one star to another near it, while total flux and centre of light stay, and in half of the steps their spread s (1 - s)
// d^2, too; s is the share of one and d the vector between them. Steps are symmetric in the logit of s. From (X, ln F, logit s, d) to
// places and ln fluxes of both the Jacobian is 1, and d grows by a factor in two directions.

void Block::exchange() {
    if (stars_.empty()) return;
    constexpr double sizes[] = {0.05, 0.3, 1.5};
    const std::size_t i = pick(stars_.size());
    const auto& around = near(stars_[i].star, i);
    if (around.empty()) return;
    const auto near_first = static_cast<double>(around.size());
    const std::size_t j = around[pick(around.size())];
    const auto near_second = static_cast<double>(near(stars_[j].star, j).size());
    const double size = sizes[pick(3)];
    const bool spread_stays = random_.uniform() < 0.5;
    const LitStar old[] = {stars_[i], stars_[j]};
    const double logit = old[0].star.ln_flux_e - old[1].star.ln_flux_e, to_logit = logit + size * random_.normal();
    const auto spread = [](double at) { return 1 / (2 + std::exp(at) + std::exp(-at)); };   // s (1 - s)
    const double share = 1 / (1 + std::exp(-logit)), to = 1 / (1 + std::exp(-to_logit));
    const double factor = spread_stays ? std::sqrt(spread(logit) / spread(to_logit)) : 1;
    const double dx = old[0].star.x_px - old[1].star.x_px, dy = old[0].star.y_px - old[1].star.y_px;
    if (factor * std::hypot(dx, dy) >= k_split_reach_px) return;   // the way back begins with two that are near
    const double x = old[1].star.x_px + share * dx, y = old[1].star.y_px + share * dy, ln_total = old[0].star.ln_flux_e - std::log(share);
    const Star first{x + (1 - to) * factor * dx, y + (1 - to) * factor * dy, ln_total + std::log(to)};
    const Star second{x - to * factor * dx, y - to * factor * dy, ln_total + std::log1p(-to)};
    if (!allowed(first) || !allowed(second)) return;
    const LitStar lit[] = {image_.lit(first), image_.lit(second)};
    const auto near_to_first = static_cast<double>(near(first, i, j).size() + 1);
    const auto near_to_second = static_cast<double>(near(second, i, j).size() + 1);
    double rest = 2 * std::log(factor) + std::log((1 / near_to_first + 1 / near_to_second) / (1 / near_first + 1 / near_second));
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
