#pragma once

#include "bliss/core/random.hpp"
#include "bliss/stars/star_sampler.hpp"

#include <vector>

namespace bliss::stars {

/// A rectangle of the plane.
struct Region {
    double x_begin = 0, x_end = 0, y_begin = 0, y_end = 0;

    [[nodiscard]] bool holds(const Star& s) const { return s.x_px >= x_begin && s.x_px < x_end && s.y_px >= y_begin && s.y_px < y_end; }
    [[nodiscard]] double area() const { return (x_end - x_begin) * (y_end - y_begin); }
};

/// How often each kind of step is made; the shares sum to 1.
struct StepShares {
    double shifts = 0.3, exchanges = 0.1, splits_and_joins = 0.5, makes_and_removals = 0.1;
};

/// Metropolis-Hastings steps on the stars of one region, all others fixed. Every kind of step leaves the posterior as it is.
class Block {
public:
    Block(StarImage& image, const StarPrior& prior, const Region& region, std::vector<LitStar> stars, RandomStream random);

    void run(std::int64_t steps, const StepShares& shares = {});

    /// Moves each star to where it explains the frame better (StarImage::improved), if it does. Not a step of the chain: for its start.
    void polish();

    [[nodiscard]] const std::vector<LitStar>& stars() const { return stars_; }

private:
    /// Places and ln fluxes of a step of this size from a star of this flux.
    struct Scale {
        double place_px, ln_flux;
    };
    [[nodiscard]] Scale scale(double flux_e, double size) const;

    void shift();
    void exchange();
    void make();
    void remove();
    void split();
    void join();

    std::size_t pick(std::size_t size) { return static_cast<std::size_t>(random_.uniform() * static_cast<double>(size)); }
    static constexpr std::size_t k_nobody = ~std::size_t{0};
    /// Stars near a place, but not those named.
    std::vector<std::size_t>& near(const Star& star, std::size_t self, std::size_t other = k_nobody);
    [[nodiscard]] bool allowed(const Star& star) const { return region_.holds(star) && prior_.holds(star.ln_flux_e); }
    /// Whether a step is taken; if so the image has changed. @param log_ratio_of_rest ln of the ratios of priors and of proposals
    bool accepted(std::span<const LitStar> without, std::span<const LitStar> with, double log_ratio_of_rest);

    StarImage& image_;
    StarPrior prior_;
    Region region_;
    std::vector<LitStar> stars_;
    RandomStream random_;
    double level_e_;                  ///< mean pixel of the region
    StarImage::Draft draft_;
    std::vector<std::size_t> near_;
};

}  // namespace bliss::stars
