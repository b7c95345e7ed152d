#include "bliss/core/random.hpp"
#include "bliss/stars/star_image.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace {

using namespace bliss;
using namespace bliss::stars;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

constexpr std::int64_t k_side = 256;
constexpr double k_background = 500;
/// A ray beside each star: share of its light, where, how wide.
constexpr double k_share = 3e-3, k_dx = 11.3, k_dy = -6.4, k_sigma = 2;

double ray(double dx, double dy) {
    const double r2 = std::pow(dx - k_dx, 2) + std::pow(dy - k_dy, 2);
    return k_share / (2 * std::numbers::pi * k_sigma * k_sigma) * std::exp(-0.5 * r2 / (k_sigma * k_sigma));
}

struct Field {
    survey::Frame frame;
    std::vector<Star> stars;
    Image<double> rays{k_side, k_side};  ///< electrons
};

/// Stars of one flux with their rays, and noise.
Field field_of(double ln_flux_e, int count) {
    Field out{.frame = {.id = {},
                        .band = "r",
                        .electrons = Image<float>{k_side, k_side},
                        .background_e = Image<float>{k_side, k_side, static_cast<float>(k_background)},
                        .valid = Image<std::uint8_t>{k_side, k_side, 1},
                        .electrons_per_nmgy = std::vector<float>(k_side, 987.0f),
                        .psf = survey::Psf::from_fwhm(3),
                        .wcs = {},
                        .source = "test"},
              .stars = {}};
    RandomStream random{5, StreamPurpose::catalog, 0, 0};
    for (int k = 0; k < count; ++k) out.stars.push_back({random.uniform(0, k_side), random.uniform(0, k_side), ln_flux_e});
    for (std::int64_t row = 0; row < k_side; ++row) {
        for (std::int64_t col = 0; col < k_side; ++col) {
            double light = 0;
            for (const Star& s : out.stars) {
                const double dx = static_cast<double>(col) - s.x_px, dy = static_cast<double>(row) - s.y_px, flux = std::exp(s.ln_flux_e);
                if (std::abs(dx) > 40 || std::abs(dy) > 40) continue;
                light += flux * out.frame.psf.value(std::hypot(dx, dy));
                out.rays(row, col) += flux * ray(dx, dy);
            }
            const double mean = k_background + light + out.rays(row, col);
            out.frame.electrons(row, col) = static_cast<float>(mean + std::sqrt(mean) * random.normal());
        }
    }
    return out;
}

StarImage learnt(const survey::Frame& frame, const std::vector<Star>& stars) {
    StarImage image{frame};
    std::vector<LitStar> lit;
    for (const Star& star : stars) lit.push_back(image.lit(star));
    const std::vector<float> levels(static_cast<std::size_t>(image.node_rows() * image.node_cols()));
    image.render(lit, levels);
    image.fit_wings(lit);
    image.render(lit, levels);
    return image;
}

double sum(const Image<float>& image) {
    double out = 0;
    for (const float x : image.pixels()) out += static_cast<double>(x);
    return out;
}

}  // namespace

TEST_CASE("what all bright stars have beside them is learnt, and where") {
    const Field field = field_of(std::log(1e6), 60);
    const StarImage image = learnt(field.frame, field.stars);
    // Sums over pixels: of the light learnt where there is some, of what it lacks, and of what is too much.
    double learnt_light = 0, true_light = 0, off = 0, both = 0, squares = 0;
    for (std::int64_t row = 0; row < k_side; ++row) {
        for (std::int64_t col = 0; col < k_side; ++col) {
            const double is = static_cast<double>(image.wing_light()(row, col)), should = field.rays(row, col);
            both += is * should;
            squares += should * should;
            off += std::pow(is - should, 2);
            learnt_light += is;
            true_light += should;
        }
    }
    CHECK_THAT(both / squares, WithinAbs(1, 0.15));  // as bright, but for the prior
    CHECK(off / squares < 0.1);                      // and nowhere else
    CHECK_THAT(learnt_light, WithinRel(true_light, 0.25));
    // The image holds it.
    const double by = static_cast<double>(image.expected()(100, 100)), without = static_cast<double>(image.wing_light()(100, 100));
    double light = 0;
    for (const Star& s : field.stars) {
        const double r = std::hypot(100 - s.x_px, 100 - s.y_px);
        if (r < 60) light += std::exp(s.ln_flux_e) * field.frame.psf.value(r);
    }
    CHECK_THAT(by - without, WithinAbs(k_background + light, 1));
}

TEST_CASE("masked pixels tell nothing of wings") {
    const auto with_masked = [](float electrons) {
        Field field = field_of(std::log(1e6), 60);
        for (std::int64_t row = k_side / 2; row < k_side; ++row) {
            for (std::int64_t col = 0; col < k_side; ++col) {
                field.frame.valid(row, col) = 0;
                field.frame.electrons(row, col) = electrons;
            }
        }
        return learnt(field.frame, field.stars);
    };
    const StarImage dark = with_masked(0), bright = with_masked(1e6f);
    CHECK(sum(dark.wing_light()) > 0);
    CHECK(std::ranges::equal(dark.wing_light().pixels(), bright.wing_light().pixels()));
}

TEST_CASE("there are no wings where nothing tells of them") {
    const Field faint = field_of(std::log(1e4), 60);
    CHECK(std::ranges::all_of(learnt(faint.frame, faint.stars).wing_light().pixels(), [](float x) { return x == 0; }));
    // One bright star says little: its ray may be a faint star.
    const Field one = field_of(std::log(1e6), 1);
    double true_light = 0;
    for (const double x : one.rays.pixels()) true_light += x;
    CHECK(sum(learnt(one.frame, one.stars).wing_light()) < 0.5 * true_light);
}
