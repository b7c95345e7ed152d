#include "bliss/inference/reconstruction.hpp"

#include "bliss/core/random.hpp"
#include "bliss/core/statistics.hpp"
#include "bliss/simulator/gaussians.hpp"
#include "bliss/simulator/renderer.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>

namespace {

using namespace bliss;
using namespace bliss::inference;
using Catch::Matchers::WithinAbs;

constexpr std::int64_t k_height = 160, k_width = 200, k_draws = 24;
constexpr float k_sky_e = 800;

survey::Frame empty_frame() {
    return {.id = {},
            .band = "r",
            .electrons = Image<float>{k_height, k_width, k_sky_e},
            .background_e = Image<float>{k_height, k_width, k_sky_e},
            .valid = Image<std::uint8_t>{k_height, k_width, 1},
            .electrons_per_nmgy = std::vector<float>(k_width, 987.0f),
            .psf = survey::Psf::from_fwhm(3.5),
            .wcs = {},
            .source = "simulated"};
}

/// Twenty stars on a grid; what is not known of them is drawn anew each time.
std::vector<simulator::Source> drawn_stars(std::uint32_t which) {
    std::vector<simulator::Source> stars;
    RandomStream random{5, StreamPurpose::catalog, which, 0};
    for (std::int64_t k = 0; k < 20; ++k) {
        const double flux_e = 1500 * std::exp(0.15 * static_cast<double>(k));
        stars.push_back({.x_px = 20 + 40 * static_cast<double>(k % 5) + 0.05 * random.normal(),
                         .y_px = 20 + 40 * static_cast<double>(k / 5) + 0.05 * random.normal(),
                         .is_star = true,
                         .flux_e = flux_e * std::exp(0.04 * random.normal())});
    }
    return stars;
}

std::vector<std::vector<simulator::Source>> some_draws() {
    std::vector<std::vector<simulator::Source>> draws;
    for (std::uint32_t k = 1; k <= k_draws; ++k) draws.push_back(drawn_stars(k));
    return draws;
}

/// A frame of one more draw, with noise.
survey::Frame frame_of(std::uint32_t which) {
    survey::Frame frame = empty_frame();
    simulator::GaussianLists lists;
    for (const auto& star : drawn_stars(which)) simulator::append_gaussians(star, frame.psf, 0.02, lists.gaussians);
    lists.first.push_back(std::ssize(lists.gaussians));
    const simulator::ImageBlock block{frame.electrons.data(), 1, k_height, k_width};
    simulator::render(lists, block);
    simulator::add_noise(simulator::NoiseKind::normal, block, 11, which, 0);
    return frame;
}

/// Where star k is, about.
double x_of(std::int64_t k) { return 20 + 40 * static_cast<double>(k % 5); }
double y_of(std::int64_t k) { return 20 + 40 * static_cast<double>(k / 5); }

}  // namespace

TEST_CASE("the mean of draws, and the chi-square tail") {
    const survey::Frame frame = empty_frame();
    std::vector<std::vector<simulator::Source>> draws;
    for (const double flux_e : {1000.0, 3000.0}) {
        for (std::int64_t k = 0; k < Reconstruction::k_least_draws / 2; ++k) {
            draws.push_back({{.x_px = 50, .y_px = 60, .is_star = true, .flux_e = flux_e}});
        }
    }
    const Reconstruction reconstruction{frame, draws};
    CHECK_THAT(reconstruction.mean()(60, 50), WithinAbs(2000 * frame.psf.value(0), 0.1));
    CHECK(reconstruction.mean()(100, 150) == 0);
    // Tables of the distribution.
    CHECK_THAT(chi_square_tail(18.307, 10), WithinAbs(0.05, 1e-3));
    CHECK_THAT(chi_square_tail(124.342, 100), WithinAbs(0.05, 1e-3));
    CHECK_THAT(chi_square_tail(11.345, 3), WithinAbs(0.01, 1e-3));
    CHECK_THAT(chi_square_tail(3.940, 10), WithinAbs(0.95, 1e-3));
    CHECK_THAT(chi_square_tail(0.352, 3), WithinAbs(0.95, 5e-3));
}

TEST_CASE("p-values of images that the posterior explains are uniform, or a little towards the middle") {
    const auto draws = some_draws();
    double below = 0, above = 0, total = 0;
    for (std::uint32_t image = 100; image < 112; ++image) {
        const survey::Frame frame = frame_of(image);
        const Reconstruction reconstruction{frame, draws};
        for (std::int64_t k = 0; k < 20; ++k) {
            const SourceFit fit = reconstruction.at(x_of(k), y_of(k));
            below += fit.p_value < 0.1 ? 1 : 0;
            above += fit.p_value > 0.9 ? 1 : 0;
            total += 1;
            CHECK(fit.p_value > 1e-4);
            CHECK(std::abs(fit.surroundings_sigma) < 4.5);
        }
        const FieldFit whole = reconstruction.whole();
        CHECK(whole.p_value > 1e-3);
        CHECK(whole.p_value < 1 - 1e-3);
        CHECK_THAT(whole.chi2_per_px, WithinAbs(1, 0.04));  // five standard errors
        CHECK(whole.unexplained_share == 0);
    }
    // Of 240: 0.1 within four standard errors, but for what the draws' own scatter takes away.
    CHECK(below / total < 0.18);
    CHECK(above / total < 0.18);
    CHECK(below / total > 0.02);
}

TEST_CASE("a trail over a star is not explained, nor a ghost around one") {
    const auto draws = some_draws();
    survey::Frame trail = frame_of(200);
    for (std::int64_t row = 0; row < k_height; ++row) {
        for (std::int64_t col = 59; col <= 60; ++col) trail.electrons(row, col) += 150;
    }
    const Reconstruction of_trail{trail, draws};
    CHECK(of_trail.at(x_of(1), y_of(1)).p_value < 1e-3);
    CHECK(of_trail.at(x_of(3), y_of(3)).p_value > 1e-3);
    CHECK(of_trail.whole().p_value < 1e-3);
    CHECK(of_trail.whole().unexplained_share > 0.01);

    survey::Frame ghost = frame_of(201);
    for (std::int64_t row = 0; row < k_height; ++row) {
        for (std::int64_t col = 0; col < k_width; ++col) {
            const double radius = std::hypot(static_cast<double>(col) - x_of(7), static_cast<double>(row) - y_of(7));
            ghost.electrons(row, col) += static_cast<float>(12 * std::exp(-0.5 * radius * radius / 225));
        }
    }
    const Reconstruction of_ghost{ghost, draws};
    CHECK(of_ghost.at(x_of(7), y_of(7)).surroundings_sigma > 5);
    CHECK(of_ghost.at(x_of(7), y_of(7)).p_value > 1e-3);
    CHECK(std::abs(of_ghost.at(x_of(15), y_of(15)).surroundings_sigma) < 4.5);
}

TEST_CASE("what cannot be seen has no p-value, and large frames are looked at with fewer draws") {
    survey::Frame frame = frame_of(300);
    for (std::int64_t row = 40; row < 80; ++row) {
        for (std::int64_t col = 40; col < 80; ++col) frame.valid(row, col) = 0;
    }
    const Reconstruction reconstruction{frame, some_draws()};
    CHECK(std::isnan(reconstruction.at(60, 60).p_value));
    CHECK(std::isnan(reconstruction.at(60, 60).surroundings_sigma));
    CHECK(reconstruction.whole().p_value > 1e-3);
    CHECK(Reconstruction::draws_looked_at(frame, 8) == 8);
    CHECK(Reconstruction::draws_looked_at(frame, 500) == 32);
    survey::Frame large = frame;
    large.electrons = Image<float>{4000, 5000};
    CHECK(Reconstruction::draws_looked_at(large, 500) == Reconstruction::k_least_draws);
}
