#include "bliss/encoder/neighbours.hpp"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <vector>

namespace {

using namespace bliss::encoder;

std::vector<float> context(const DrawnTiles& drawn, std::int64_t row, std::int64_t col, std::int64_t reach, std::int64_t max_sources) {
    std::vector<float> out(static_cast<std::size_t>(context_length(reach, max_sources)), 99.0f);
    write_context(drawn, row, col, reach, max_sources, out.data());
    return out;
}

}  // namespace

TEST_CASE("a tile is told of tiles of earlier turns, and of no others") {
    const DrawnTiles drawn{7, 7, 1};
    // How many of the tiles around one are of an earlier turn.
    const int expected[] = {0, 4, 4, 8};
    for (const auto& [row, col] : {std::pair{2, 2}, {3, 3}, {2, 3}, {3, 2}}) {
        const auto out = context(drawn, row, col, 1, 1);
        int known = 0;
        for (std::size_t k = 0; k < out.size(); k += 5) known += out[k] == 1 ? 1 : 0;
        CHECK(known == expected[colour_of(row, col)]);
        CHECK(std::ranges::all_of(out, [](float x) { return x == 0 || x == 1; }));
    }
    // On the board's edge five tiles are left, and the last turn is told of all of them.
    CHECK(std::ranges::count(context(drawn, 1, 0, 1, 1), 1.0f) == 5);
}

TEST_CASE("with a reach of two a tile is told of two rings of earlier tiles") {
    DrawnTiles drawn{9, 9, 1};
    const auto known = [&](std::int64_t row, std::int64_t col) {
        const auto out = context(drawn, row, col, 2, 1);
        std::vector<bool> of_tile;
        for (std::size_t k = 0; k < out.size(); k += 5) of_tile.push_back(out[k] == 1);
        return of_tile;
    };
    // Row by row through the 24 tiles around: those whose turn is earlier.
    for (const auto& [row, col] : {std::pair{4, 4}, {4, 5}, {5, 4}, {5, 5}}) {
        const auto told = known(row, col);
        REQUIRE(told.size() == 24);
        std::size_t at = 0;
        for (std::int64_t r = row - 2; r <= row + 2; ++r) {
            for (std::int64_t c = col - 2; c <= col + 2; ++c) {
                if (r == row && c == col) continue;
                INFO("tile " << row << "," << col << " about " << r << "," << c);
                CHECK(told[at++] == (colour_of(r, c) < colour_of(row, col)));
            }
        }
    }
    // In the outer ring, one row up and two columns to the right: at the end of the second of five rows.
    drawn.set(4, 6, std::vector<DrawnSource>{{0.25f, 0.75f, 8.0f}});
    const auto out = context(drawn, 5, 4, 2, 1);
    const std::size_t place = 5 * (1 * 5 + 4);
    CHECK(out[place] == 1);
    CHECK(out[place + 1] == 1);
    CHECK(out[place + 4] == 2);
    CHECK(context(drawn, 3, 2, 2, 4).size() == 24 * 17);
}

TEST_CASE("sources are told brightest first, with place and brightness") {
    DrawnTiles drawn{4, 4, 2};
    const DrawnSource faint{0.25f, 0.75f, 4.0f}, bright{1.0f, 0.0f, 8.0f};
    drawn.set(2, 2, std::vector{faint, bright});
    CHECK(drawn.count(2, 2) == 2);
    CHECK(drawn.sources(2, 2)[0].ln_flux_above_noise == 8.0f);
    const auto out = context(drawn, 3, 3, 1, 2);  // (2, 2) is the first of the tiles around it
    const float expected[] = {1, 1, 0.5f, -0.5f, 2, 1, -0.25f, 0.25f, 0};
    CHECK(std::equal(std::begin(expected), std::end(expected), out.begin()));
    // Whether a tile is told of any source: the second number of each of the eight tiles around it.
    const auto told = [&](std::int64_t row, std::int64_t col) {
        const auto numbers = context(drawn, row, col, 1, 2);
        for (std::size_t k = 1; k < numbers.size(); k += 9) {
            if (numbers[k] == 1) return true;
        }
        return false;
    };
    CHECK(told(3, 3));
    CHECK_FALSE(told(2, 0));
    drawn.set(2, 2, {});
    CHECK_FALSE(told(3, 3));
    // A turn is not told of itself or later ones.
    drawn.set(3, 3, std::vector{faint});
    CHECK_FALSE(told(2, 2));
    CHECK(told(2, 3));
}
