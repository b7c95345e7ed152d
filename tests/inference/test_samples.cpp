#include "bliss/inference/samples.hpp"

#include "fake_chain.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <cmath>

namespace {

using namespace bliss;
using namespace bliss::inference;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using test::FakeChain;
using test::Says;

constexpr std::int64_t k_samples = 4000;

/// One certain source on the border of tiles (2, 2) and (2, 3); another tile holds none, one or two.
Says rule(const TileIndex& tile, const FakeChain::Told& told) {
    if (tile == TileIndex{2, 2}) return {{0.6, 0.4, 1e-9}, 0.9, 0.2, 0.3, 9};
    if (tile == TileIndex{2, 3}) return told.source(0, -1) ? Says{{1, 1e-9, 1e-9}} : Says{{1e-9, 1, 1e-9}, 0.1, 0.2, 0.3, 9};
    if (tile == TileIndex{0, 5}) return {{0.2, 0.5, 0.3}};
    return {{1, 1e-9, 1e-9}};
}

const FakeChain k_chain{{.rows = 6, .cols = 6, .max_sources = 2}, rule};

}  // namespace

TEST_CASE("joint draws follow the chain: a source on a border is drawn once, always") {
    const auto draws = draw_sources(k_chain, {7, 3}, k_samples);
    REQUIRE(std::ssize(draws) == k_samples);
    double left = 0;
    std::vector<double> counts(3, 0.0);
    for (const auto& draw : draws) {
        const auto in = [&](std::int32_t row, std::int32_t col) {
            return std::ranges::count_if(draw, [&](const SampledSource& s) { return s.tile == TileIndex{row, col}; });
        };
        REQUIRE(in(2, 2) + in(2, 3) == 1);
        left += static_cast<double>(in(2, 2));
        counts[static_cast<std::size_t>(in(0, 5))] += 1;
        CHECK(std::ranges::is_sorted(draw, {}, &SampledSource::tile));
    }
    // Five standard errors of a share.
    const double tolerance = 5 * 0.5 / std::sqrt(static_cast<double>(k_samples));
    CHECK_THAT(left / k_samples, WithinAbs(0.4, tolerance));
    for (std::size_t n = 0; n < 3; ++n) CHECK_THAT(counts[n] / k_samples, WithinAbs(n == 0 ? 0.2 : n == 1 ? 0.5 : 0.3, tolerance));
}

TEST_CASE("drawn places are Normals truncated to the tile, fluxes are Normal in the logarithm") {
    std::vector<double> u, ln_flux;
    for (const auto& draw : draw_sources(k_chain, {7, 3}, k_samples)) {
        for (const SampledSource& s : draw) {
            if (s.tile != TileIndex{2, 2}) continue;
            u.push_back((s.x_px + 0.5) / 4 - 2);
            ln_flux.push_back(s.ln_flux_e);
        }
    }
    REQUIRE(u.size() > 1000);
    const auto phi = [](double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); };
    const double tolerance = 5 * 0.5 / std::sqrt(static_cast<double>(u.size()));
    for (const double at : {0.3, 0.6, 0.9}) {
        const double below =
            static_cast<double>(std::ranges::count_if(u, [&](double x) { return x < at; })) / static_cast<double>(u.size());
        const double low = phi(-0.9 / 0.3), expected = (phi((at - 0.9) / 0.3) - low) / (phi(0.1 / 0.3) - low);
        CHECK_THAT(below, WithinAbs(expected, tolerance));
    }
    CHECK(*std::ranges::min_element(u) >= 0);
    CHECK(*std::ranges::max_element(u) <= 1);
    double sum = 0, square = 0;
    for (const double f : ln_flux) {
        sum += f;
        square += (f - 9) * (f - 9);
    }
    const auto n = static_cast<double>(ln_flux.size());
    CHECK_THAT(sum / n, WithinAbs(9, 5 * 0.1 / std::sqrt(n)));
    CHECK_THAT(std::sqrt(square / n), WithinRel(0.1, 5 / std::sqrt(2 * n)));
}

TEST_CASE("a source is drawn from its own slot of its tile's count") {
    // Slots in order: of one source, of the first and the second of two, of the three of three.
    const FakeChain chain{{.rows = 2, .cols = 2, .max_sources = 3}, [](const TileIndex& tile, const FakeChain::Told&) {
                              return tile == TileIndex{1, 1} ? Says{{1e-9, 0.4, 0.3, 0.3}, 0.2, 0.5, 0.01, 8, 0.12}
                                                             : Says{{1, 1e-9, 1e-9, 1e-9}};
                          }};
    int seen[4] = {};
    for (const auto& draw : draw_sources(chain, {7, 3}, 60)) {
        std::vector<double> slots;
        for (const SampledSource& s : draw) slots.push_back(((s.x_px + 0.5) / 4 - 1 - 0.2) / 0.12);
        std::ranges::sort(slots);
        REQUIRE(slots.size() >= 1);
        REQUIRE(slots.size() <= 3);
        ++seen[slots.size()];
        const double first = slots.size() == 1 ? 0 : slots.size() == 2 ? 1 : 3;
        for (std::size_t m = 0; m < slots.size(); ++m) CHECK_THAT(slots[m], WithinAbs(first + static_cast<double>(m), 0.45));
    }
    CHECK((seen[1] > 0 && seen[2] > 0 && seen[3] > 0));
}

TEST_CASE("fluxes are drawn from what lies above the least flux") {
    constexpr double low = 8.95;  // half a standard deviation below the mean
    const FakeChain chain{k_chain.shape(), rule, low};
    std::vector<double> ln_flux;
    for (const auto& draw : draw_sources(chain, {7, 3}, k_samples)) {
        for (const SampledSource& s : draw) {
            if (s.tile == TileIndex{2, 2}) ln_flux.push_back(s.ln_flux_e);
        }
    }
    REQUIRE(ln_flux.size() > 1000);
    CHECK(*std::ranges::min_element(ln_flux) >= low);
    const auto phi = [](double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); };
    const auto n = static_cast<double>(ln_flux.size());
    for (const double z : {-0.3, 0.0, 0.8}) {
        const double at = 9 + z * test::k_ln_flux_sd;
        const double below = static_cast<double>(std::ranges::count_if(ln_flux, [&](double f) { return f < at; })) / n;
        CHECK_THAT(below, WithinAbs((phi(z) - phi(-0.5)) / phi(0.5), 5 * 0.5 / std::sqrt(n)));
    }
}

TEST_CASE("a draw depends on the seed, the field and its number, and on nothing else") {
    const auto same = [](const std::vector<SampledSource>& a, const std::vector<SampledSource>& b) {
        return std::ranges::equal(a, b, [](const SampledSource& s, const SampledSource& t) {
            return s.x_px == t.x_px && s.y_px == t.y_px && s.ln_flux_e == t.ln_flux_e && s.tile == t.tile;
        });
    };
    const auto many = draw_sources(k_chain, {7, 3}, 20), few = draw_sources(k_chain, {7, 3}, 5);
    for (std::size_t k = 0; k < few.size(); ++k) CHECK(same(many[k], few[k]));
    CHECK_FALSE(same(many[0], many[1]));
    CHECK_FALSE(same(many[0], draw_sources(k_chain, {8, 3}, 1)[0]));
    CHECK_FALSE(same(many[0], draw_sources(k_chain, {7, 4}, 1)[0]));
}
