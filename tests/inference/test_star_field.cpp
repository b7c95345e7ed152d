#include "bliss/inference/star_field.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/random.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace {

using namespace bliss;
using namespace bliss::inference;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using Catch::Matchers::WithinAbs;
using stars::Star;

constexpr std::size_t k_draws = 40;

/// Draws of: a sure star, one held by every second draw, two of like flux 1.2 px apart, a faint one on a bright one, and strays.
std::vector<std::vector<Star>> some_draws() {
    RandomStream random{1, StreamPurpose::noise, 0, 0};
    std::vector<std::vector<Star>> draws(k_draws);
    for (std::size_t k = 0; k < k_draws; ++k) {
        const auto around = [&](double x, double y, double ln_flux) {
            draws[k].push_back({x + 0.05 * random.normal(), y + 0.05 * random.normal(), ln_flux + 0.1 * random.normal()});
        };
        around(10, 12, 8);
        if (k % 2 == 0) around(30, 5, 7);
        around(20, 20, 8);
        around(21.2, 20, 8.1);
        around(40, 40, 11);
        around(40.2, 40.1, 7);
        draws[k].push_back({random.uniform(60, 1000), random.uniform(60, 1000), 7});
    }
    return draws;
}

const Source* source_at(const std::vector<Source>& sources, double x, double y, double ln_flux) {
    const auto found = std::ranges::find_if(sources, [&](const Source& s) {
        return std::hypot(s.x_px.median - x, s.y_px.median - y) < 0.1 && std::abs(s.ln_flux_e.median - ln_flux) < 0.2;
    });
    return found == sources.end() ? nullptr : &*found;
}

}  // namespace

TEST_CASE("what draws have in common becomes sources: their probability is the share of draws, their marginals those of the stars") {
    const auto sources = condense(some_draws(), 2, 0.05);
    REQUIRE(sources.size() == 6);   // strays are below the floor
    const Source* const sure = source_at(sources, 10, 12, 8);
    REQUIRE(sure != nullptr);
    CHECK(sure->p_source == 1);
    CHECK_THAT(sure->x_px.error, WithinAbs(0.05, 0.02));
    CHECK_THAT(sure->ln_flux_e.error, WithinAbs(0.1, 0.04));
    CHECK_THAT(sure->ln_flux_e.high - sure->ln_flux_e.low, WithinAbs(2 * 1.645 * 0.1, 0.1));
    CHECK(sure->tile == TileIndex{6, 5});   // of 2 px: rows 12, 13 and columns 10, 11
    const Source* const half = source_at(sources, 30, 5, 7);
    REQUIRE(half != nullptr);
    CHECK(half->p_source == 0.5);
    for (const auto& [x, y, ln_flux] : {std::tuple{20.0, 20.0, 8.0}, {21.2, 20.0, 8.1}, {40.0, 40.0, 11.0}, {40.2, 40.1, 7.0}}) {
        const Source* const source = source_at(sources, x, y, ln_flux);
        REQUIRE(source != nullptr);
        CHECK(source->p_source == 1);
    }
    CHECK(source_at(sources, 40, 40, 11)->multiple);
    CHECK(source_at(sources, 40.2, 40.1, 7)->multiple);
    CHECK(source_at(sources, 40, 40, 11)->slot != source_at(sources, 40.2, 40.1, 7)->slot);
    CHECK_FALSE(sure->multiple);
    CHECK(std::ranges::is_sorted(sources, {}, [](const Source& s) { return std::tuple(s.tile, s.slot); }));
}

TEST_CASE("every star of every draw belongs to one source, but for those that fewer than three draws hold") {
    const auto draws = some_draws();
    double total = 0;
    for (const Source& source : condense(draws, 4, 0.001)) total += source.p_source;
    std::size_t stars_drawn = 0;
    for (const auto& draw : draws) stars_drawn += draw.size() - 1;   // the last one is a stray
    CHECK_THAT(total, WithinAbs(static_cast<double>(stars_drawn) / k_draws, 1e-9));
    CHECK(condense({{}, {}}, 4, 0.05).empty());
}

TEST_CASE("samples are draws evenly spaced to the last, without what is too faint or off the frame") {
    StarField field;
    field.draws = some_draws();
    for (auto& draw : field.draws) draw.push_back({-2, 10, 9});
    const survey::Frame frame{.id = {},
                              .band = "r",
                              .electrons = Image<float>{50, 50},
                              .background_e = Image<float>{50, 50},
                              .valid = Image<std::uint8_t>{50, 50},
                              .electrons_per_nmgy = {},
                              .psf = survey::Psf::from_fwhm(3),
                              .wcs = {},
                              .source = "test"};
    const auto samples = samples_of(field, frame, 4, 7.5, 2);
    REQUIRE(samples.size() == 4);
    for (std::size_t k = 0; k < samples.size(); ++k) {
        CHECK(samples[k].size() == 4);   // the sure one, the pair, the bright one
        CHECK(std::ranges::is_sorted(samples[k], {}, &SampledSource::tile));
        const auto& from = field.draws[10 * k + 9];
        for (const SampledSource& s : samples[k]) {
            CHECK(s.is_star);
            CHECK(s.sample == static_cast<std::int32_t>(k));
            CHECK(std::ranges::any_of(from, [&](const Star& star) { return star.x_px == s.x_px && star.ln_flux_e == s.ln_flux_e; }));
            CHECK(s.tile_number == static_cast<std::uint32_t>(s.tile.row * 26 + s.tile.col));
        }
    }
}

TEST_CASE("a density that no sky has is refused") {
    const survey::Frame frame{.id = {},
                              .band = "r",
                              .electrons = Image<float>{32, 32, 500},
                              .background_e = Image<float>{32, 32, 500},
                              .valid = Image<std::uint8_t>{32, 32, 1},
                              .electrons_per_nmgy = std::vector<float>(32, 987.0f),
                              .psf = survey::Psf::from_fwhm(3),
                              .wcs = {},
                              .source = "frame.fits"};
    // Sixteen stars a tile above the limit are one a pixel, and more of all fluxes.
    const simulator::PriorConfig trained{.star_fraction = 1, .flux_min_e = 250, .label_flux_min_e = 500};
    CatalogConfig config;
    config.stars = {.likelihood = true, .burn_in = 4, .draws = 8, .thin = 1};
    // One to begin with is drawn.
    CHECK_NOTHROW(draw_star_field(frame, {}, {16, 1, 0.43, 0.75}, trained, config, {1, 0}, 2));
    config.sources_per_tile = 16;
    CHECK_THROWS_MATCHES(draw_star_field(frame, {}, {16, 1, 0.43, 0.75}, trained, config, {1, 0}, 2), DataError,
                         MessageMatches(ContainsSubstring("frame.fits") && ContainsSubstring("lower sources_per_tile")));
}
