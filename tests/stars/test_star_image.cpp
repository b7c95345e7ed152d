#include "bliss/stars/star_image.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>
#include <vector>

namespace {

using namespace bliss;
using namespace bliss::stars;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

constexpr std::int64_t k_height = 70, k_width = 90;
constexpr float k_background = 500;

survey::Frame some_frame() {
    survey::Frame frame{.id = {},
                        .band = "r",
                        .electrons = Image<float>{k_height, k_width, k_background},
                        .background_e = Image<float>{k_height, k_width, k_background},
                        .valid = Image<std::uint8_t>{k_height, k_width, 1},
                        .electrons_per_nmgy = std::vector<float>(k_width, 987.0f),
                        .psf = survey::Psf::from_moffat(2.6, 3),
                        .wcs = {},
                        .source = "test"};
    for (std::int64_t row = 0; row < k_height; ++row) {
        for (std::int64_t col = 0; col < k_width; ++col) {
            frame.electrons(row, col) += static_cast<float>(30 * std::sin(0.7 * static_cast<double>(row * col)));
        }
    }
    return frame;
}

/// ln p(frame | m) in double precision, from the definition.
double log_likelihood(const survey::Frame& frame, const std::vector<Star>& stars, double diffuse) {
    double sum = 0;
    for (std::int64_t row = 0; row < frame.height(); ++row) {
        for (std::int64_t col = 0; col < frame.width(); ++col) {
            if (frame.valid(row, col) == 0) continue;
            double light = diffuse;
            for (const Star& s : stars) {
                light += std::exp(s.ln_flux_e) *
                         frame.psf.value(std::hypot(static_cast<double>(col) - s.x_px, static_cast<double>(row) - s.y_px));
            }
            const double mean = static_cast<double>(frame.background_e(row, col)) + light;
            const double variance = mean + std::pow(static_cast<double>(StarImage::k_psf_error) * light, 2);
            sum -= 0.5 * (std::pow(static_cast<double>(frame.electrons(row, col)) - mean, 2) / variance + std::log(variance));
        }
    }
    return sum;
}

const std::vector<Star> k_stars{{40.3, 30.8, 9.0}, {42.0, 31.5, 8.0}, {5.2, 66.0, 10.5}};

std::vector<LitStar> lit(const StarImage& image, const std::vector<Star>& stars) {
    std::vector<LitStar> out;
    for (const Star& star : stars) out.push_back(image.lit(star));
    return out;
}

std::vector<float> no_levels(const StarImage& image) {
    return std::vector<float>(static_cast<std::size_t>(image.node_rows() * image.node_cols()));
}

}  // namespace

TEST_CASE("the image of stars is the background and their PSFs, out to where they drown in the noise") {
    const survey::Frame frame = some_frame();
    StarImage image{frame};
    image.render(lit(image, k_stars), no_levels(image));
    for (std::int64_t row = 0; row < k_height; ++row) {
        for (std::int64_t col = 0; col < k_width; ++col) {
            double expected = k_background;
            for (const Star& s : k_stars) {
                expected += std::exp(s.ln_flux_e) *
                            frame.psf.value(std::hypot(static_cast<double>(col) - s.x_px, static_cast<double>(row) - s.y_px));
            }
            // A tenth of the noise for each star that is cut off.
            REQUIRE_THAT(image.expected()(row, col), WithinAbs(expected, 0.3 * std::sqrt(k_background) + 1e-3 * (expected - k_background)));
        }
    }
}

TEST_CASE("the likelihood's change is that of its definition, for stars that come, go and move, and over pixels that are not valid") {
    survey::Frame frame = some_frame();
    for (std::int64_t col = 38; col < 41; ++col) {
        frame.valid(30, col) = 0;
        frame.electrons(30, col) = std::nanf("");
    }
    StarImage image{frame};
    image.render(lit(image, k_stars), no_levels(image));
    const double before = log_likelihood(frame, k_stars, 0);
    StarImage::Draft draft;
    const auto change = [&](const std::vector<Star>& without, const std::vector<Star>& with) {
        return image.log_ratio(lit(image, without), lit(image, with), draft);
    };
    const Star moved{40.8, 30.1, 9.1}, fresh{70, 20, 7.5};
    const auto expected = [&](const std::vector<Star>& after) { return log_likelihood(frame, after, 0) - before; };
    // Cut wings: a tenth of the noise in a few hundred pixels.
    const double to_moved = expected({moved, k_stars[1], k_stars[2]});
    CHECK_THAT(change({k_stars[0]}, {moved}), WithinAbs(to_moved, 0.02 * std::abs(to_moved) + 1));
    CHECK_THAT(change({}, {fresh}), WithinAbs(expected({k_stars[0], k_stars[1], k_stars[2], fresh}), 2));
    CHECK_THAT(change({k_stars[1]}, {}), WithinRel(expected({k_stars[0], k_stars[2]}), 0.03));
    // What has been looked at is not made; what is taken is.
    const double there = change({k_stars[0]}, {moved});
    CHECK(there == change({k_stars[0]}, {moved}));
    image.take(draft);
    CHECK_THAT(change({moved}, {k_stars[0]}), WithinAbs(-there, 1e-3 * std::abs(there) + 1e-2));
    CHECK(image.log_ratio({}, lit(image, {{-500, -500, 9}}), draft) == 0);   // far off the frame
}

TEST_CASE("diffuse light is linear between its nodes, and its likelihood that of its definition") {
    const survey::Frame frame = some_frame();
    StarImage image{frame};
    std::vector<float> levels = no_levels(image);
    image.render({}, levels);
    StarImage::Draft draft;
    double sum = 0;
    for (std::int64_t row = 0; row < image.node_rows(); ++row) {
        for (std::int64_t col = 0; col < image.node_cols(); ++col) {
            sum += image.log_ratio_of_level(row, col, 10, draft);
            image.take(draft);
            levels[static_cast<std::size_t>(row * image.node_cols() + col)] = 10;
        }
    }
    CHECK_THAT(sum, WithinAbs(log_likelihood(frame, {}, 10) - log_likelihood(frame, {}, 0), 0.05));
    const Image<float> all = image.diffuse(levels);
    for (const float value : all.pixels()) REQUIRE_THAT(value, WithinAbs(10, 1e-4));
    for (std::int64_t row = 0; row < k_height; row += 7) {
        for (std::int64_t col = 0; col < k_width; col += 7) REQUIRE_THAT(image.expected()(row, col), WithinAbs(k_background + 10, 1e-2));
    }
    levels.assign(levels.size(), 0);
    levels[static_cast<std::size_t>(image.node_cols() + 1)] = 8;   // at (32, 32)
    const Image<float> one = image.diffuse(levels);
    CHECK_THAT(one(32, 32), WithinAbs(8, 1e-5));
    CHECK_THAT(one(48, 32), WithinAbs(4, 1e-5));
    CHECK_THAT(one(24, 40), WithinAbs(8 * 0.75 * 0.75, 1e-5));
    CHECK(one(32, 64) == 0);
}

TEST_CASE("light beyond a star's reach is in the image of many stars, as much as there is of it") {
    constexpr std::int64_t side = 220;
    const survey::Frame frame{.id = {},
                              .band = "r",
                              .electrons = Image<float>{side, side, k_background},
                              .background_e = Image<float>{side, side, k_background},
                              .valid = Image<std::uint8_t>{side, side, 1},
                              .electrons_per_nmgy = std::vector<float>(side, 987.0f),
                              .psf = survey::Psf({{0.8, 1.2}, {0.2, 8}}),
                              .wcs = {},
                              .source = "test"};
    StarImage image{frame};
    std::vector<Star> stars;
    for (int k = 0; k < 400; ++k) stars.push_back({70 + 4.1 * (k % 20), 70 + 4.3 * static_cast<double>(k / 20), 7});
    const std::vector<LitStar> lights = lit(image, stars);
    double in_reach = 0, all = 0;
    for (const LitStar& light : lights) {
        in_reach += std::exp(7.0) * frame.psf.encircled_energy(static_cast<double>(light.reach_px));
        all += std::exp(7.0);
    }
    REQUIRE(in_reach < 0.9 * all);   // or there would be nothing to see
    image.render(lights, no_levels(image));
    double sum = 0;
    for (const float pixel : image.expected().pixels()) sum += static_cast<double>(pixel - k_background);
    CHECK_THAT(sum, WithinRel(all, 0.02));
}

TEST_CASE("a star is improved to where it explains the frame best, next to masked pixels, too") {
    survey::Frame frame = some_frame();
    const Star truth{40.3, 30.8, 10};
    for (std::int64_t row = 0; row < k_height; ++row) {
        for (std::int64_t col = 0; col < k_width; ++col) {
            const double r = std::hypot(static_cast<double>(col) - truth.x_px, static_cast<double>(row) - truth.y_px);
            frame.electrons(row, col) = k_background + static_cast<float>(std::exp(truth.ln_flux_e) * frame.psf.value(r));
        }
    }
    const bool masked = GENERATE(false, true);
    if (masked) frame.valid(31, 40) = frame.valid(31, 41) = frame.valid(30, 40) = 0;
    StarImage image{frame};
    Star star{40.8, 30.4, 9.7};
    for (int k = 0; k < 12; ++k) {
        const LitStar now = image.lit(star);
        image.render({&now, 1}, no_levels(image));
        star = image.improved(now);
    }
    INFO(star.x_px << " " << star.y_px << " " << star.ln_flux_e);
    CHECK_THAT(star.x_px, WithinAbs(truth.x_px, 0.01));
    CHECK_THAT(star.y_px, WithinAbs(truth.y_px, 0.01));
    CHECK_THAT(star.ln_flux_e, WithinAbs(truth.ln_flux_e, 0.01));
    // Where no pixel says anything a star stays.
    const Star off{-200, 10, 8};
    const Star kept = image.improved(image.lit(off));
    CHECK((kept.x_px == off.x_px && kept.ln_flux_e == off.ln_flux_e));
}
