#include "bliss/inference/turns.hpp"

#include "bliss/inference/samples.hpp"

#include "fake_chain.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>

namespace {

using namespace bliss;
using namespace bliss::inference;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using test::FakeChain;
using test::Says;

constexpr double k_nothing = 1e-6;
Says says(double p, double u = 0.5, double v = 0.5, double sd = 0.05) { return {{1 - p, p}, u, v, sd}; }

/// One certain source on the border of tiles (2, 2), turn 0, and (2, 3), turn 2: 0.4 in the first one, else in the second.
Says on_a_border(const TileIndex& tile, const FakeChain::Told& told, double left) {
    if (tile == TileIndex{2, 2}) return says(left, 0.97);
    if (tile == TileIndex{2, 3}) return told.source(0, -1) ? says(0.01, 0.9) : says(0.98, 0.03);
    return says(k_nothing);
}

}  // namespace

TEST_CASE("turns part the board: tiles of one turn do not touch, and each tile has one") {
    const FakeChain chain{{.rows = 5, .cols = 6}, [](const TileIndex&, const FakeChain::Told&) { return says(k_nothing); }};
    std::size_t tiles = 0;
    for (std::int64_t turn = 0; turn < encoder::k_colours; ++turn) {
        const auto of_turn = chain.tiles_of_turn(turn);
        tiles += of_turn.size();
        for (const TileIndex& a : of_turn) {
            for (const TileIndex& b : of_turn) {
                if (a == b) continue;
                CHECK((std::abs(a.row - b.row) > 1 || std::abs(a.col - b.col) > 1));
            }
        }
    }
    CHECK(tiles == 30);
}

TEST_CASE("a source on a border is reported once, with the probability that either tile holds it") {
    for (const double left : {0.4, 0.6}) {  // undecided in the first turn; decided
        const FakeChain chain{{.rows = 6, .cols = 6},
                              [&](const TileIndex& tile, const FakeChain::Told& told) { return on_a_border(tile, told, left); }};
        const FieldSources found = find_sources(chain, 0.05);
        REQUIRE(found.sources.size() == 1);
        const Source& source = found.sources[0];
        CHECK_THAT(source.p_source, WithinRel(1 - (1 - left) * (1 - 0.98), 1e-6));
        CHECK(source.merged);
        CHECK(source.tile == (left > 0.5 ? TileIndex{2, 2} : TileIndex{2, 3}));
        // Between the places that the two tiles give, 11.38 and 11.62.
        CHECK(source.x_px.median > 11.3);
        CHECK(source.x_px.median < 11.7);
        CHECK_THAT(source.x_px.median, WithinAbs(left > 0.5 ? 11.38 : 11.62, 0.1));
        CHECK_THAT(found.expected_sources, WithinAbs(source.p_source + (left > 0.5 ? 0.01 : 0), 1e-3));
    }
}

TEST_CASE("a source on a corner is joined from four tiles, turn by turn") {
    const auto rule = [](const TileIndex& tile, const FakeChain::Told& told) {
        const bool here = tile.row >= 2 && tile.row <= 3 && tile.col >= 2 && tile.col <= 3;
        if (!here) return says(k_nothing);
        bool seen = false;
        for (std::int64_t row = -1; row <= 1; ++row) {
            for (std::int64_t col = -1; col <= 1; ++col) {
                if (row != 0 || col != 0) seen = seen || (told.known(row, col) && told.source(row, col));
            }
        }
        // A quarter each: given that it is in none of the earlier ones 1/4, 1/3, 1/2, 1.
        const double p[] = {0.25, 1.0 / 3, 0.49, 0.999};
        return says(seen ? 0.001 : p[encoder::colour_of(tile.row, tile.col)], tile.col == 2 ? 0.97 : 0.03, tile.row == 2 ? 0.97 : 0.03);
    };
    const FieldSources found = find_sources(FakeChain{{.rows = 6, .cols = 6}, rule}, 0.05);
    REQUIRE(found.sources.size() == 1);
    CHECK_THAT(found.sources[0].p_source, WithinAbs(1 - 0.75 * (2.0 / 3) * 0.51 * 0.001, 1e-6));
    CHECK_THAT(found.sources[0].x_px.median, WithinAbs(11.5, 0.2));
}

TEST_CASE("two sources on both sides of a border stay two") {
    const auto rule = [](const TileIndex& tile, const FakeChain::Told& told) {
        if (tile == TileIndex{2, 2}) return says(0.97, 0.8);
        // The later tile is sure of its own, whatever it is told.
        if (tile == TileIndex{2, 3}) return says(told.source(0, -1) ? 0.96 : 0.97, 0.2);
        return says(k_nothing);
    };
    const FieldSources found = find_sources(FakeChain{{.rows = 6, .cols = 6}, rule}, 0.05);
    REQUIRE(found.sources.size() == 2);
    CHECK_THAT(found.sources[0].p_source, WithinRel(0.97, 1e-6));
    CHECK_THAT(found.sources[1].p_source, WithinRel(0.96, 1e-6));
    CHECK_FALSE(found.sources[0].merged);
}

TEST_CASE("a certain source away from the border leaves a faint neighbour of unknown place alone") {
    const auto rule = [](const TileIndex& tile, const FakeChain::Told&) {
        if (tile == TileIndex{2, 2}) return says(0.97, 0.4);
        if (tile == TileIndex{2, 3}) return says(0.3, 0.6, 0.5, 0.2);
        return says(k_nothing);
    };
    const FieldSources found = find_sources(FakeChain{{.rows = 6, .cols = 6}, rule}, 0.05);
    REQUIRE(found.sources.size() == 2);
    CHECK_THAT(found.sources[0].p_source, WithinRel(0.97, 1e-6));
    CHECK_THAT(found.sources[1].p_source, WithinRel(0.3, 1e-6));
}

TEST_CASE("the floor is judged after joining, and the result is in tile order") {
    const auto rule = [](const TileIndex& tile, const FakeChain::Told&) {
        if (tile == TileIndex{4, 2}) return says(0.03, 0.97);  // with its neighbour above the floor
        if (tile == TileIndex{4, 3}) return says(0.04, 0.03);
        if (tile == TileIndex{0, 5}) return says(0.9);
        if (tile == TileIndex{1, 1}) return says(0.03);        // alone below it
        return says(k_nothing);
    };
    const FieldSources found = find_sources(FakeChain{{.rows = 6, .cols = 6}, rule}, 0.05);
    REQUIRE(found.sources.size() == 2);
    CHECK(found.sources[0].tile == TileIndex{0, 5});
    CHECK(found.sources[1].tile == TileIndex{4, 3});
    CHECK_THAT(found.sources[1].p_source, WithinRel(1 - 0.97 * 0.96, 1e-6));
    CHECK_THAT(found.expected_sources, WithinAbs(0.9 + 0.03 + 1 - 0.97 * 0.96, 1e-3));
}

TEST_CASE("a tile may hold two sources: each slot has the probability that the count exceeds it") {
    const auto rule = [](const TileIndex& tile, const FakeChain::Told&) {
        return tile == TileIndex{1, 1} ? Says{{0.1, 0.3, 0.6}} : Says{{1 - 2 * k_nothing, k_nothing, k_nothing}};
    };
    const FieldSources found = find_sources(FakeChain{{.rows = 4, .cols = 4, .max_sources = 2}, rule}, 0.05);
    REQUIRE(found.sources.size() == 2);
    for (const std::int32_t slot : {0, 1}) {
        const Source& source = found.sources[static_cast<std::size_t>(slot)];
        CHECK(source.slot == slot);
        CHECK(source.multiple);
        CHECK_FALSE(source.merged);
        CHECK_THAT(source.p_source, WithinRel(slot == 0 ? 0.9 : 0.6, 1e-5));
    }
    CHECK_THAT(found.expected_sources, WithinAbs(0.3 + 2 * 0.6, 1e-3));
}

TEST_CASE("later turns are told of sources decided in earlier ones, where they lie and how bright they are") {
    bool told_right = false;
    const auto rule = [&](const TileIndex& tile, const FakeChain::Told& told) {
        if (tile == TileIndex{2, 2}) return Says{{0.1, 0.9}, 0.8, 0.3, 0.01, 9.5};
        if (tile == TileIndex{2, 3} && told.source(0, -1)) {
            const float* const numbers = told.context + 3 * 5;  // the fourth of eight neighbours is the one to the left
            told_right = std::abs(numbers[2] - 0.3) < 1e-3 && std::abs(numbers[3] + 0.2) < 1e-3 &&
                         std::abs(numbers[4] - (9.5 - 3 - 4) / 2) < 1e-3;
        }
        return says(k_nothing);
    };
    (void)find_sources(FakeChain{{.rows = 6, .cols = 6, .ln_noise = 3}, rule}, 0.05);
    CHECK(told_right);
}

TEST_CASE("tiles that see nothing are not asked anew beside an unsure one either") {
    std::vector<char> seen(36, 1);
    for (std::size_t k = 18; k < 36; ++k) seen[k] = 0;  // the lower half
    int asked_blind = 0;
    const auto rule = [&](const TileIndex& tile, const FakeChain::Told&) {
        asked_blind += tile.row >= 3 ? 1 : 0;
        // A blind tile would claim the source of (2, 2), on its border, for itself.
        return tile == TileIndex{2, 2} ? says(0.9, 0.5, 0.97) : says(tile.row >= 3 ? 0.9 : k_nothing, 0.5, 0.03);
    };
    const FakeChain chain{{.rows = 6, .cols = 6}, rule, -std::numeric_limits<double>::infinity(), seen};
    const FieldSources found = find_sources(chain, 0.05);
    REQUIRE(found.sources.size() == 1);
    CHECK_THAT(found.sources[0].p_source, WithinRel(0.9, 1e-6));
    CHECK(asked_blind == 0);
}

TEST_CASE("tiles that see nothing are not asked: they hold nothing, in the mode and in draws") {
    std::vector<char> seen(36, 1);
    for (std::size_t k = 18; k < 36; ++k) seen[k] = 0;  // the lower half
    int asked_blind = 0;
    const FakeChain chain{{.rows = 6, .cols = 6, .reach = 0},
                          [&](const TileIndex& tile, const FakeChain::Told&) {
                              asked_blind += tile.row >= 3 ? 1 : 0;
                              return tile.col == 4 ? Says{{0.1, 0.9}} : Says{{0.99, 0.01}};
                          },
                          -std::numeric_limits<double>::infinity(),
                          seen};
    CHECK(chain.seen_tiles() == 18);
    const FieldSources found = find_sources(chain, 0.05);
    CHECK(found.sources.size() == 3);
    CHECK_THAT(found.expected_sources, WithinAbs(3 * 0.9 + 15 * 0.01, 1e-5));
    for (const auto& draw : draw_sources(chain, {1, 0}, 20)) {
        for (const SampledSource& source : draw) CHECK(source.tile.row < 3);
    }
    CHECK(asked_blind == 0);
}
