#include "block.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>
#include <vector>

namespace {

using namespace bliss;
using namespace bliss::stars;
using Catch::Matchers::WithinAbs;

constexpr std::int64_t k_side = 100;
constexpr std::uint64_t k_seed = 17;
/// No star in it reaches the frame's one valid pixel, (0, 0): steps see nothing but the prior.
constexpr Region k_region{40, 48, 50, 58};
constexpr StarPrior k_prior{.stars_per_px = 0.3, .alpha = 0.4, .ln_flux_low = 6, .ln_flux_high = 11};

survey::Frame blind_frame() {
    survey::Frame frame{.id = {},
                        .band = "r",
                        .electrons = Image<float>{k_side, k_side, 2000},
                        .background_e = Image<float>{k_side, k_side, 2000},
                        .valid = Image<std::uint8_t>{k_side, k_side, 0},
                        .electrons_per_nmgy = std::vector<float>(k_side, 987.0f),
                        .psf = survey::Psf::from_fwhm(2.5),
                        .wcs = {},
                        .source = "test"};
    frame.valid(0, 0) = 1;
    return frame;
}

/// Stars of the prior.
std::vector<LitStar> prior_stars(const StarImage& image, RandomStream& random) {
    const double span = 1 - std::exp(-k_prior.alpha * (k_prior.ln_flux_high - k_prior.ln_flux_low));
    std::vector<LitStar> out;
    for (std::int64_t n = random.poisson(k_prior.stars_per_px * k_region.area()); n > 0; --n) {
        out.push_back(image.lit({random.uniform(k_region.x_begin, k_region.x_end), random.uniform(k_region.y_begin, k_region.y_end),
                                 k_prior.ln_flux_low - std::log(1 - random.uniform() * span) / k_prior.alpha}));
    }
    return out;
}

/// Means over many fields, of one field's: stars, ln flux of all of them together, squared, pairs closer than 1.5 px, stars in the left
/// quarter.
struct Summary {
    double count = 0, ln_flux = 0, squared = 0, pairs = 0, left = 0;

    void add(const std::vector<LitStar>& stars, double weight) {
        for (std::size_t i = 0; i < stars.size(); ++i) {
            const Star& s = stars[i].star;
            count += weight;
            ln_flux += weight * (s.ln_flux_e - 8);
            squared += weight * (s.ln_flux_e - 8) * (s.ln_flux_e - 8);
            left += s.x_px < 42 ? weight : 0;
            for (std::size_t j = 0; j < i; ++j) {
                pairs += std::hypot(s.x_px - stars[j].star.x_px, s.y_px - stars[j].star.y_px) < 1.5 ? weight : 0;
            }
        }
    }
};

/// What steps of one kind make of fields that were drawn from the prior: fields of the prior, or the steps are wrong.
void check_that_the_prior_stays(const StepShares& shares, std::int64_t steps) {
    constexpr int k_fields = 4000;
    const survey::Frame frame = blind_frame();
    StarImage image{frame};
    Summary before, after;
    double moved = 0;
    for (std::uint32_t k = 0; k < k_fields; ++k) {
        RandomStream random{k_seed, StreamPurpose::catalog, 0, k};
        const std::vector<LitStar> stars = prior_stars(image, random);
        Block block{image, k_prior, k_region, stars, RandomStream{k_seed, StreamPurpose::star_steps, 0, k}};
        block.run(steps, shares);
        before.add(stars, 1.0 / k_fields);
        after.add(block.stars(), 1.0 / k_fields);
        const bool same = stars.size() == block.stars().size() && (stars.empty() || stars[0].star.x_px == block.stars()[0].star.x_px);
        moved += same && stars[0].star.ln_flux_e == block.stars()[0].star.ln_flux_e ? 0 : 1.0 / k_fields;
    }
    CHECK(moved > 0.8);
    // Standard errors of a field's sums, over 4,000 fields; before and after hang together, which makes the test the safer.
    const double n = k_prior.stars_per_px * k_region.area(), error = std::sqrt(n / k_fields);
    CHECK_THAT(before.count, WithinAbs(n, 4 * error));
    CHECK_THAT(after.count, WithinAbs(n, 4 * error));
    CHECK_THAT(after.left, WithinAbs(n / 4, 4 * error / 2));
    CHECK_THAT(after.ln_flux, WithinAbs(before.ln_flux, 6 * 1.3 * error));
    CHECK_THAT(after.squared, WithinAbs(before.squared, 6 * 2.5 * error));
    CHECK_THAT(after.pairs, WithinAbs(before.pairs, 0.04 * before.pairs));
}

}  // namespace

TEST_CASE("shifts leave the prior as it is") {
    check_that_the_prior_stays({.shifts = 1, .exchanges = 0, .splits_and_joins = 0, .makes_and_removals = 0}, 400);
}

TEST_CASE("exchanges of flux leave the prior as it is") {
    check_that_the_prior_stays({.shifts = 0, .exchanges = 1, .splits_and_joins = 0, .makes_and_removals = 0}, 400);
}

TEST_CASE("splits and joins leave the prior as it is") {
    check_that_the_prior_stays({.shifts = 0, .exchanges = 0, .splits_and_joins = 1, .makes_and_removals = 0}, 400);
}

TEST_CASE("making and removing stars leaves the prior as it is") {
    check_that_the_prior_stays({.shifts = 0, .exchanges = 0, .splits_and_joins = 0, .makes_and_removals = 1}, 400);
}
