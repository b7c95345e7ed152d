#include "bliss/simulator/prior.hpp"

#include "bliss/core/error.hpp"
#include "bliss/simulator/simulation.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace {

using namespace bliss;
using namespace bliss::simulator;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

/// Kolmogorov's distance of numbers from the uniform distribution on [0, 1].
double distance_from_uniform(std::vector<double> numbers) {
    std::sort(numbers.begin(), numbers.end());
    const auto n = static_cast<double>(numbers.size());
    double distance = 0;
    for (std::size_t k = 0; k < numbers.size(); ++k) {
        distance = std::max({distance, numbers[k] - static_cast<double>(k) / n, static_cast<double>(k + 1) / n - numbers[k]});
    }
    return distance;
}

/// A distance that chance exceeds once in a thousand.
double rare_distance(double n) { return 1.95 / std::sqrt(n); }

/// A decoder of two shape latents, both ignored.
GalaxyDecoder constant_decoder() {
    return GalaxyDecoder{{}, {{std::vector<float>(k_mixture_numbers * 2, 0.0f), std::vector<float>(k_mixture_numbers, 0.0f)}}};
}

}  // namespace

TEST_CASE("the truncated Pareto is the closed form (equation 4)") {
    CHECK_THAT(pareto_quantile(0, 250, 1e6, 0.43), WithinRel(250.0, 1e-12));
    CHECK_THAT(pareto_quantile(1, 250, 1e6, 0.43), WithinRel(1e6, 1e-9));
    for (const double u : {0.1, 0.5, 0.93}) {
        const double flux = pareto_quantile(u, 250, 1e6, 0.75);
        CHECK_THAT(pareto_share_above(flux, 250, 1e6, 0.75), WithinRel(1 - u, 1e-9));
        const double direct = 1 - (1 - std::pow(250 / flux, 0.75)) / (1 - std::pow(250 / 1e6, 0.75));
        CHECK_THAT(pareto_share_above(flux, 250, 1e6, 0.75), WithinRel(direct, 1e-9));
    }
}

TEST_CASE("catalogues are a Poisson process of the labelled rate (equations 1 to 3)") {
    const PriorConfig config;
    const Area area{-0.5, 9.5, 400, 300};
    const double rate = 0.002;
    double labelled = 0, stars = 0, all = 0, product = 0, square = 0;
    std::array<std::vector<double>, 2> places;
    const int catalogues = 400;
    for (int i = 0; i < catalogues; ++i) {
        RandomStream random{5, StreamPurpose::catalog, 0, static_cast<std::uint32_t>(i)};
        const auto sources = draw_catalog(config, nullptr, rate, area, random);
        CHECK(std::is_sorted(sources.begin(), sources.end(), [](const Source& a, const Source& b) { return a.flux_e > b.flux_e; }));
        double count = 0;
        for (const Source& s : sources) {
            REQUIRE((s.x_px >= -0.5 && s.x_px < 399.5 && s.y_px >= 9.5 && s.y_px < 309.5));
            REQUIRE((s.flux_e >= config.flux_min_e && s.flux_e <= config.flux_max_e));
            count += s.flux_e >= config.label_flux_min_e ? 1 : 0;
            stars += s.is_star ? 1 : 0;
            const double u = (s.x_px + 0.5) / 400, v = (s.y_px - 9.5) / 300;
            places[0].push_back(u);
            places[1].push_back(v);
            product += (u - 0.5) * (v - 0.5);
            all += 1;
        }
        labelled += count;
        square += count * count;
    }
    const double expected = rate * 400 * 300;
    const double mean = labelled / catalogues;
    CHECK_THAT(mean, WithinAbs(expected, 5 * std::sqrt(expected / catalogues)));
    CHECK_THAT(square / catalogues - mean * mean, WithinRel(expected, 5 * std::sqrt(2.0 / catalogues)));
    CHECK_THAT(stars / all, WithinAbs(config.star_fraction, 5 * std::sqrt(0.21 / all)));
    for (auto& along : places) CHECK(distance_from_uniform(along) < rare_distance(all));
    CHECK_THAT(product / all, WithinAbs(0, 5.0 / 12 / std::sqrt(all)));
}

TEST_CASE("latents of learnt galaxies are standard Normals, the first is the flux (equations 4 and 5)") {
    PriorConfig config;
    config.star_fraction = 0;
    config.galaxies = GalaxyModel::learnt;
    const GalaxyDecoder decoder = constant_decoder();
    RandomStream random{7, StreamPurpose::catalog, 0, 0};
    std::array<std::vector<double>, 3> shares;
    std::array<double, 3> products{};
    const int n = 20000;
    for (int i = 0; i < n; ++i) {
        const Source source = draw_mark(config, &decoder, random);
        REQUIRE(source.latents.size() == 3);
        for (std::size_t k = 0; k < 3; ++k) {
            shares[k].push_back(0.5 * std::erfc(-static_cast<double>(source.latents[k]) / std::numbers::sqrt2));
            products[k] += static_cast<double>(source.latents[k]) * static_cast<double>(source.latents[(k + 1) % 3]);
        }
        const double above = pareto_share_above(source.flux_e, config.flux_min_e, config.flux_max_e, config.galaxy_alpha);
        REQUIRE(std::abs(above - (1 - shares[0].back())) < 1e-6);
    }
    for (std::size_t k = 0; k < 3; ++k) {
        CHECK(distance_from_uniform(shares[k]) < rare_distance(n));
        CHECK_THAT(products[k] / n, WithinAbs(0, 5 / std::sqrt(n)));
    }
}

TEST_CASE("galaxy sizes follow the law asked for") {
    PriorConfig config;
    config.star_fraction = 0;
    config.size_law = SizeLaw::flux;
    CHECK_THAT(size_unit_px(config, config.size_reference_flux_e) * config.arcsec_per_px,
               WithinRel(config.size_at_reference_arcsec, 1e-12));
    CHECK_THAT(size_unit_px(config, 100 * config.size_reference_flux_e) / size_unit_px(config, config.size_reference_flux_e),
               WithinRel(std::pow(100, config.size_flux_exponent), 1e-12));
    RandomStream random{6, StreamPurpose::catalog, 0, 0};
    double sum = 0, square = 0;
    const int n = 20000;
    for (int i = 0; i < n; ++i) {
        const double ln = std::log(draw_shape(config, random).disk_major_px);
        sum += ln;
        square += ln * ln;
    }
    CHECK_THAT(sum / n, WithinAbs(0, 5 * config.size_ln_scatter / std::sqrt(n)));
    CHECK_THAT(std::sqrt(square / n), WithinRel(config.size_ln_scatter, 0.03));
    config.size_law = SizeLaw::gamma;
    const double arcsec_per_unit = size_unit_px(config, 1e3) * config.arcsec_per_px;
    for (int i = 0; i < 1000; ++i) REQUIRE(draw_shape(config, random).disk_major_px * arcsec_per_unit >= 0.837189 - 1e-9);
}

TEST_CASE("a simulated image is the same whatever batch it is drawn in, and bad pixels hold the background") {
    SimulatorConfig config;
    config.conditions.edge_share = 1;
    const std::int64_t side = 96, pixels = side * side;
    std::vector<float> pair(2 * static_cast<std::size_t>(pixels)), one(static_cast<std::size_t>(pixels));
    std::vector<std::uint8_t> pair_valid(pair.size()), one_valid(one.size());
    const auto truths = simulate(config, nullptr, {9, 4, 6}, {{pair.data(), 2, side, side}, pair_valid.data()});
    const auto alone = simulate(config, nullptr, {9, 4, 7}, {{one.data(), 1, side, side}, one_valid.data()});
    CHECK(std::equal(one.begin(), one.end(), pair.begin() + pixels));
    CHECK(std::equal(one_valid.begin(), one_valid.end(), pair_valid.begin() + pixels));
    CHECK(truths[1].sources.size() == alone[0].sources.size());
    const auto invalid = std::count(one_valid.begin(), one_valid.end(), 0);
    CHECK(invalid >= side);  // an edge is at least one row
    for (std::size_t k = 0; k < one.size(); ++k) {
        if (!one_valid[k]) REQUIRE(one[k] == static_cast<float>(alone[0].conditions.background_e));
    }
}

TEST_CASE("contradicting settings are refused") {
    PriorConfig prior;
    prior.label_flux_min_e = 100;
    CHECK_THROWS_AS(check_prior(prior), ConfigError);
    ConditionsConfig conditions;
    conditions.psf_sigma1_px_low = 3;
    CHECK_THROWS_AS(check_conditions(conditions), ConfigError);
    SimulatorConfig simulator;
    simulator.conditions.bright_star_flux_e_low = 2e8;
    CHECK_NOTHROW(check_simulator(simulator));
    simulator.conditions.bright_star_share = 0.1;
    CHECK_THROWS_AS(check_simulator(simulator), ConfigError);
}
