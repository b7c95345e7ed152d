#include "bliss/stars/star_sampler.hpp"

#include "bliss/core/random.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <vector>

namespace {

using namespace bliss;
using namespace bliss::stars;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

survey::Frame blank_frame(std::int64_t side, float background, bool valid) {
    return {.id = {},
            .band = "r",
            .electrons = Image<float>{side, side, background},
            .background_e = Image<float>{side, side, background},
            .valid = Image<std::uint8_t>{side, side, static_cast<std::uint8_t>(valid ? 1 : 0)},
            .electrons_per_nmgy = std::vector<float>(static_cast<std::size_t>(side), 987.0f),
            .psf = survey::Psf::from_fwhm(2.5),
            .wcs = {},
            .source = "test"};
}

struct Mean {
    double mean = 0, sd = 0;
};

Mean mean_of(const std::vector<double>& values) {
    const auto n = static_cast<double>(values.size());
    Mean out{std::accumulate(values.begin(), values.end(), 0.0) / n, 0};
    for (const double v : values) out.sd += (v - out.mean) * (v - out.mean) / (n - 1);
    out.sd = std::sqrt(out.sd);
    return out;
}

}  // namespace

TEST_CASE("where no pixel says anything, the chain draws the prior, across blocks, turns and sweeps") {
    survey::Frame blind = blank_frame(100, 500, false);
    blind.valid(0, 0) = 1;   // so that the frame has a noise: one so high that stars do not matter in it
    blind.electrons(0, 0) = blind.background_e(0, 0) = 1e9f;
    StarImage image{blind};
    const StarPrior prior{.stars_per_px = 0.01, .alpha = 0.8, .ln_flux_low = 6.5, .ln_flux_high = 9};
    const StarDraws out = sample_stars(image, {}, prior, {.burn_in = 200, .draws = 4000, .thin = 4, .seed = 3, .field = 1});
    REQUIRE(out.draws.size() == 4000);
    const double margin = margin_px(image, prior), side = 100 + 2 * margin, area = side * side, expected = prior.stars_per_px * area;
    std::vector<double> counts, pairs;
    double x = 0, above = 0, all = 0, on_left = 0;
    for (const auto& draw : out.draws) {
        counts.push_back(static_cast<double>(draw.size()));
        double near = 0;
        for (std::size_t i = 0; i < draw.size(); ++i) {
            x += draw[i].x_px;
            above += draw[i].ln_flux_e > 7.5 ? 1 : 0;
            on_left += draw[i].x_px < 10 ? 1 : 0;
            all += 1;
            for (std::size_t j = 0; j < i; ++j) near += std::hypot(draw[i].x_px - draw[j].x_px, draw[i].y_px - draw[j].y_px) < 2 ? 1 : 0;
        }
        pairs.push_back(near);
    }
    // Draws hang together; the tolerances are about four standard errors as measured over seeds.
    const Mean count = mean_of(counts), pair = mean_of(pairs);
    CHECK_THAT(count.mean, WithinRel(expected, 0.02));
    CHECK_THAT(count.sd, WithinRel(std::sqrt(expected), 0.08));
    // Of two places in a square of side L, closer than r: (pi r^2 L^2 - 8/3 r^3 L + r^4 / 2) / L^4.
    const double close = (4 * std::numbers::pi * side * side - 64.0 / 3 * side + 8) / std::pow(side, 4);
    CHECK_THAT(pair.mean, WithinRel(0.5 * expected * expected * close, 0.06));
    CHECK_THAT(x / all, WithinAbs(49.5, 0.8));
    CHECK_THAT(on_left / all, WithinAbs((10.5 + margin) / side, 0.01));
    CHECK_THAT(above / all, WithinAbs((std::exp(-0.8) - std::exp(-2.0)) / (1 - std::exp(-2.0)), 0.01));
}

TEST_CASE("one star's posterior is that of the likelihood: flux against numerical integration, and the count") {
    survey::Frame frame = blank_frame(40, 400, true);
    const Star truth{19.3, 20.6, std::log(1500.0)};
    RandomStream random{5, StreamPurpose::noise, 0, 0};
    for (std::int64_t row = 0; row < 40; ++row) {
        for (std::int64_t col = 0; col < 40; ++col) {
            const double radius = std::hypot(static_cast<double>(col) - truth.x_px, static_cast<double>(row) - truth.y_px);
            const double mean = 400 + std::exp(truth.ln_flux_e) * frame.psf.value(radius);
            frame.electrons(row, col) = static_cast<float>(mean + std::sqrt(mean) * random.normal());
        }
    }
    StarImage image{frame};
    const StarPrior prior{.stars_per_px = 1e-5, .alpha = 0.5, .ln_flux_low = std::log(400.0), .ln_flux_high = std::log(1e5)};
    const StarDraws out = sample_stars(image, {}, prior, {.burn_in = 200, .draws = 4000, .thin = 20, .seed = 11, .field = 2});
    std::vector<double> flux, x;
    double none = 0;
    for (const auto& draw : out.draws) {
        if (draw.size() != 1 || std::hypot(draw[0].x_px - truth.x_px, draw[0].y_px - truth.y_px) > 5) {
            none += 1;
            continue;
        }
        flux.push_back(std::exp(draw[0].ln_flux_e));
        x.push_back(draw[0].x_px);
    }
    CHECK(none < 0.02 * 4000);
    // The linear estimate on a known sky: sum P (x - g) / sum P^2 at the best place, with its error.
    StarImage bare{frame};
    const std::vector<float> levels(static_cast<std::size_t>(bare.node_rows() * bare.node_cols()));
    bare.render({}, levels);
    StarImage::Draft draft;
    double sum = 0, sum_flux = 0, sum_flux2 = 0, sum_x = 0, sum_x2 = 0;
    for (double dx = -0.4; dx <= 0.4; dx += 0.05) {
        for (double dy = -0.4; dy <= 0.4; dy += 0.05) {
            for (double ln_flux = std::log(1000.0); ln_flux < std::log(2200.0); ln_flux += 0.02) {
                const Star star{truth.x_px + dx, truth.y_px + dy, ln_flux};
                const LitStar lit = bare.lit(star);
                const double p = std::exp(bare.log_ratio({}, {&lit, 1}, draft) - 60 + prior.log_density(ln_flux));
                sum += p;
                sum_flux += p * std::exp(ln_flux);
                sum_flux2 += p * std::exp(2 * ln_flux);
                sum_x += p * star.x_px;
                sum_x2 += p * star.x_px * star.x_px;
            }
        }
    }
    const double mean_flux = sum_flux / sum, sd_flux = std::sqrt(sum_flux2 / sum - mean_flux * mean_flux);
    const double mean_x = sum_x / sum, sd_x = std::sqrt(sum_x2 / sum - mean_x * mean_x);
    const Mean of_flux = mean_of(flux), of_x = mean_of(x);
    INFO(mean_flux << " +- " << sd_flux << ", drawn " << of_flux.mean << " +- " << of_flux.sd);
    // The sampler's diffuse light, free within its prior, moves the flux by a share of its error.
    CHECK_THAT(of_flux.mean, WithinAbs(mean_flux, 0.3 * sd_flux));
    CHECK_THAT(of_flux.sd, WithinRel(sd_flux, 0.12));
    CHECK_THAT(of_x.mean, WithinAbs(mean_x, 0.1 * sd_x));
    CHECK_THAT(of_x.sd, WithinRel(sd_x, 0.1));
}

TEST_CASE("a free density and exponent are those of the stars") {
    survey::Frame frame = blank_frame(200, 300, true);
    RandomStream random{6, StreamPurpose::noise, 0, 0};
    const double density = 0.01, alpha = 1.0;
    const auto n = random.poisson(density * 200 * 200);
    std::vector<Star> truth;
    for (std::int64_t k = 0; k < n; ++k) {
        truth.push_back({random.uniform(-0.5, 199.5), random.uniform(-0.5, 199.5),
                         8 - std::log(1 - random.uniform() * (1 - std::exp(-3 * alpha))) / alpha});
    }
    StarImage expected{frame};
    std::vector<LitStar> lit;
    for (const Star& star : truth) lit.push_back(expected.lit(star));
    expected.render(lit, std::vector<float>(static_cast<std::size_t>(expected.node_rows() * expected.node_cols())));
    for (std::int64_t row = 0; row < 200; ++row) {
        for (std::int64_t col = 0; col < 200; ++col) {
            const double mean = static_cast<double>(expected.expected()(row, col));
            frame.electrons(row, col) = static_cast<float>(mean + std::sqrt(mean) * random.normal());
        }
    }
    StarImage image{frame};
    const StarPrior prior{.stars_per_px = 0.04, .alpha = 0.3, .ln_flux_low = 8, .ln_flux_high = 11};
    const StarDraws out = sample_stars(
        image, {}, prior, {.burn_in = 60, .draws = 60, .thin = 1, .free_density = true, .free_alpha = true, .seed = 2, .field = 0});
    const double area = 200 * 200, error = std::sqrt(static_cast<double>(n));
    CHECK_THAT(out.prior.stars_per_px * area, WithinAbs(density * area, 4 * error));
    CHECK_THAT(out.prior.alpha, WithinAbs(alpha, 4 * alpha * 1.4 / error));
    // Every star stands where it is.
    double found = 0, on_frame = 0;
    for (const Star& s : out.draws.back()) {
        if (std::max(std::abs(s.x_px - 99.5), std::abs(s.y_px - 99.5)) > 100) continue;
        on_frame += 1;
        found += std::ranges::any_of(truth, [&](const Star& t) {
            return std::hypot(s.x_px - t.x_px, s.y_px - t.y_px) < 0.3 && std::abs(s.ln_flux_e - t.ln_flux_e) < 0.2;
        }) ? 1 : 0;
    }
    CHECK(found > 0.93 * static_cast<double>(n));
    CHECK_THAT(on_frame, WithinAbs(static_cast<double>(n), 0.07 * static_cast<double>(n)));

    // The same numbers on any number of threads.
    const int threads = omp_get_max_threads();
    const SamplerSettings few{.burn_in = 2, .draws = 2, .thin = 1, .seed = 2, .field = 0};
    omp_set_num_threads(1);
    StarImage one{frame};
    const StarDraws alone = sample_stars(one, truth, prior, few);
    omp_set_num_threads(3);
    StarImage three{frame};
    const StarDraws together = sample_stars(three, truth, prior, few);
    omp_set_num_threads(threads);
    for (const std::size_t draw : {0, 1}) {
        REQUIRE(alone.draws[draw].size() == together.draws[draw].size());
        for (std::size_t k = 0; k < alone.draws[draw].size(); ++k) {
            const Star &a = alone.draws[draw][k], &b = together.draws[draw][k];
            CHECK((a.x_px == b.x_px && a.y_px == b.y_px && a.ln_flux_e == b.ln_flux_e));
        }
    }
    CHECK(std::ranges::equal(alone.diffuse_e.pixels(), together.diffuse_e.pixels()));
    // Another field's numbers are others.
    StarImage other{frame};
    SamplerSettings of_other = few;
    of_other.field = 1;
    CHECK(sample_stars(other, truth, prior, of_other).draws[0][0].x_px != alone.draws[0][0].x_px);
}

TEST_CASE("diffuse light is found, and is not negative by more than the sky's error") {
    const auto level = [](float light) {
        survey::Frame frame = blank_frame(80, 400, true);   // smaller than two blocks
        RandomStream random{8, StreamPurpose::noise, 0, 0};
        for (float& pixel : frame.electrons.pixels()) pixel += light + static_cast<float>(20 * random.normal());
        StarImage image{frame};
        const StarPrior prior{.stars_per_px = 1e-5, .alpha = 0.5, .ln_flux_low = 7, .ln_flux_high = 11};
        const StarDraws out = sample_stars(image, {}, prior, {.burn_in = 50, .draws = 50, .thin = 2, .seed = 4, .field = 0});
        double sum = 0;
        for (const float value : out.diffuse_e.pixels()) sum += static_cast<double>(value) / 6400;
        return sum;
    };
    CHECK_THAT(level(6), WithinAbs(6, 1.2));
    CHECK_THAT(level(0), WithinAbs(0, 1.2));
    CHECK(level(-20) >= -2.001);
    CHECK(level(-20) < -1);
}

TEST_CASE("a frame smaller than a node's pixels is sampled, too") {
    const survey::Frame frame = blank_frame(9, 400, true);
    StarImage image{frame};
    const StarPrior prior{.stars_per_px = 0.001, .alpha = 0.5, .ln_flux_low = 7, .ln_flux_high = 11};
    CHECK(sample_stars(image, {{4, 4, 8}, {1e9, 0, 8}, {4, 5, std::nan("")}}, prior, {.burn_in = 4, .draws = 2, .thin = 1}).draws.size() ==
          2);
}
