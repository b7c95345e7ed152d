#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/seen_tiles.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace {

using namespace bliss;
using Catch::Matchers::WithinAbs;

/// A frame whose pixel (row, col) holds 100 + row + col / 1000 electrons over a background of 100.
survey::Frame ramp_frame(std::int64_t height, std::int64_t width) {
    survey::Frame frame{{}, "r", {height, width}, {height, width, 100.0f}, {height, width, 1},
                        std::vector<float>(static_cast<std::size_t>(width), 1.0f), survey::Psf::from_fwhm(3), {}, "ramp"};
    for (std::int64_t r = 0; r < height; ++r) {
        for (std::int64_t c = 0; c < width; ++c) frame.electrons(r, c) = 100.0f + static_cast<float>(r) + 0.001f * static_cast<float>(c);
    }
    return frame;
}

at::Tensor some_filters() { return tile::matched_filters(survey::Psf::from_fwhm(3)).unsqueeze(0); }

}  // namespace

TEST_CASE("positions map to tiles and back") {
    const tile::TileLocation first = tile::to_tile(-0.5, -0.5);
    CHECK(first.tile == TileIndex{0, 0});
    CHECK(first.u == 0);
    const tile::TileLocation at = tile::to_tile(10.2, 3.6);
    CHECK(at.tile == TileIndex{1, 2});
    CHECK_THAT(tile::x_of(at), WithinAbs(10.2, 1e-12));
    CHECK_THAT(tile::y_of(at), WithinAbs(3.6, 1e-12));
    CHECK(tile::to_tile(3.4999, 0).tile == TileIndex{0, 0});
    CHECK(tile::to_tile(3.5, 0).tile == TileIndex{0, 1});
    CHECK(tile::to_tile(-0.6, -4.6).tile == TileIndex{-2, -1});
}

TEST_CASE("a frame whose sides are no whole tiles gets tiles over its edge") {
    const tile::TileGrid grid{1489, 2048};
    CHECK(grid.rows() == 373);
    CHECK(grid.cols() == 512);
}

TEST_CASE("matched filters have unit noise, and a star's signal-to-noise ratio at its peak") {
    const survey::Psf psf = survey::Psf::from_fwhm(3);
    const at::Tensor filters = tile::matched_filters(psf);
    REQUIRE(filters.sizes() == torch::IntArrayRef({tile::k_filter_count, tile::k_filter_px, tile::k_filter_px}));
    CHECK(torch::allclose(filters.square().sum({1, 2}), torch::ones({tile::k_filter_count})));
    // A star of flux f over a noise of 10 electrons: the ratio of an optimal flux is f / (10 sqrt(noise-equivalent area)).
    at::Tensor electrons = torch::full({1, 41, 41}, 100.0f);
    const double flux = 2000;
    for (int y = 0; y < 41; ++y) {
        for (int x = 0; x < 41; ++x) electrons[0][y][x] += flux * psf.value(std::hypot(x - 20, y - 20));
    }
    const tile::PixelBlock pixels{electrons, torch::full({1, 1, 1}, 100.0f), torch::ones({1, 41, 41}, torch::kUInt8)};
    const at::Tensor f = tile::features(pixels, filters.unsqueeze(0), {2});
    REQUIRE(f.size(1) == tile::feature_count(1));
    const double ratio = 3 * std::sinh(f[0][1][20][20].item<double>());
    CHECK_THAT(ratio, WithinAbs(flux / (10 * std::sqrt(psf.noise_equivalent_area_px())), 0.01 * ratio));
    CHECK(f[0][1].argmax().item<std::int64_t>() == 20 * 41 + 20);
    CHECK(f[0][1][20][20].item<float>() > f[0][2][20][20].item<float>());  // the galaxies' filters fit a star less well
    CHECK_THAT(f[0][1][0][0].item<double>(), WithinAbs(0, 1e-4));
}

TEST_CASE("features do not depend on the number of threads") {
    tile::PixelBlock pixels{100 + 10 * torch::randn({2, 131, 77}), torch::full({2, 1, 1}, 100.0f),
                            torch::ones({2, 131, 77}, torch::kUInt8)};
    const at::Tensor filters = tile::matched_filters(survey::Psf::from_fwhm(3)).unsqueeze(0).repeat({2, 1, 1, 1});
    const int threads = at::get_num_threads();
    at::set_num_threads(1);
    const at::Tensor one = tile::features(pixels, filters, {2, 30});
    at::set_num_threads(3);
    CHECK(torch::equal(tile::features(pixels, filters, {2, 30}), one));
    at::set_num_threads(threads);
    CHECK(one.isfinite().all().item<bool>());
    pixels.electrons[0][60][30] = 1e35f;  // no measurement, but a finite number
    CHECK(tile::features(pixels, filters, {2, 30}).isfinite().all().item<bool>());
}

TEST_CASE("features are asinh of the signal in units of the noise, and validity") {
    tile::PixelBlock pixels{torch::full({1, 2, 2}, 160.0f), torch::full({1, 1, 1}, 100.0f), torch::ones({1, 2, 2}, torch::kUInt8)};
    pixels.valid[0][1][1] = 0;
    const at::Tensor f = tile::features(pixels, some_filters(), {2, 30});
    REQUIRE(f.sizes() == torch::IntArrayRef({1, 6, 2, 2}));
    CHECK_THAT(f[0][0][0][0].item<double>(), WithinAbs(std::asinh(3.0), 1e-5));
    CHECK_THAT(f[0][1][0][0].item<double>(), WithinAbs(std::asinh(0.2), 1e-5));
    CHECK(f[0][5][0][0].item<float>() == 1);
    for (const int c : {0, 1, 5}) CHECK(f[0][c][1][1].item<float>() == 0);
}

TEST_CASE("features of several images together are the same up to rounding") {
    torch::manual_seed(5);
    tile::PixelBlock pixels{900 + 60 * torch::randn({3, 70, 50}), 400 + 300 * torch::rand({3, 1, 1}),
                            (torch::rand({3, 70, 50}) > 0.1).to(torch::kUInt8)};
    const at::Tensor filters = torch::rand({3, tile::k_filter_count, tile::k_filter_px, tile::k_filter_px}) / 11;
    for (const at::Tensor& background : {pixels.background_e, 400 + 300 * torch::rand({3, 70, 50})}) {
        pixels.background_e = background;
        const at::Tensor expected = tile::features(pixels, filters, {2, 30}), together = tile::features_together(pixels, filters, {2, 30});
        CHECK(together.sizes() == expected.sizes());
        CHECK(together.is_contiguous(torch::MemoryFormat::ChannelsLast));
        CHECK(torch::allclose(together, expected, 1e-5, 1e-5));
    }
}

TEST_CASE("padded rows hold the frame's pixels, and nothing valid off it") {
    survey::Frame frame = ramp_frame(10, 9);
    frame.electrons(4, 5) = std::numeric_limits<float>::quiet_NaN();
    frame.valid(4, 5) = 0;
    const tile::PixelBlock block = tile::padded_rows(frame, 0, 12);
    REQUIRE(block.electrons.sizes() == torch::IntArrayRef({1, 12 + 48, 12 + 48}));
    CHECK(block.electrons[0][24 + 3][24 + 2].item<float>() == frame.electrons(3, 2));
    CHECK(block.valid.sum().item<std::int64_t>() == 10 * 9 - 1);
    CHECK(block.valid[0][24 + 4][24 + 5].item<int>() == 0);
    CHECK(tile::features(block, some_filters(), {2}).isfinite().all().item<bool>());
    CHECK(torch::equal(tile::padded_rows(frame, 4, 8).electrons[0].slice(0, 0, 50), block.electrons[0].slice(0, 4, 54)));
    const tile::PixelBlock there = tile::padded_frame_there(frame, torch::kCPU), here = tile::padded_frame(frame, torch::kCPU);
    for (const auto member : {&tile::PixelBlock::electrons, &tile::PixelBlock::background_e, &tile::PixelBlock::valid}) {
        CHECK(torch::equal(there.*member, block.*member));
        CHECK(torch::equal(here.*member, block.*member));
    }
}

TEST_CASE("crops are centred, and zero off the image") {
    const at::Tensor channels = torch::rand({2, 3, 60, 70});
    const at::Tensor out = tile::crops(channels, {0, 1, 1}, {30, 2, 500}, {35, 69, 10}, 52);
    CHECK(torch::equal(out[0], channels[0].slice(1, 4, 56).slice(2, 9, 61)));
    CHECK(torch::equal(out[1].slice(1, 24, 52).slice(2, 0, 27), channels[1].slice(1, 0, 28).slice(2, 43, 70)));
    CHECK(out[1].slice(1, 0, 24).abs().sum().item<float>() == 0);
    CHECK(out[2].abs().sum().item<float>() == 0);
    CHECK(torch::equal(tile::crops_by_index(channels, {0, 1, 1}, {30, 2, 500}, {35, 69, 10}, 52), out));
}

TEST_CASE("a tile sees an image where it holds a valid pixel, or half of its padded tile is valid") {
    Image<std::uint8_t> valid{130, 150, 1};
    for (std::int64_t row = 0; row < valid.height(); ++row) {
        for (std::int64_t col = 0; col < valid.width(); ++col) {
            // The right part is masked, and the core of a star on the left.
            if (col >= 91 || std::hypot(col - 40, row - 60) < 11) valid(row, col) = 0;
        }
    }
    valid(70, 130) = 1;
    for (const std::int64_t tile_px : {4, 2}) {
        const std::vector<char> seen = tile::seen_tiles(valid, tile_px);
        const tile::TileGrid grid{130, 150, tile_px};
        REQUIRE(std::ssize(seen) == grid.size());
        for (std::int64_t row = 0; row < grid.rows(); ++row) {
            for (std::int64_t col = 0; col < grid.cols(); ++col) {
                bool own = false;
                double all = 0, inside = 0;
                for (std::int64_t y = std::max<std::int64_t>(0, row * tile_px - 24);
                     y < std::min<std::int64_t>(130, (row + 1) * tile_px + 24); ++y) {
                    for (std::int64_t x = std::max<std::int64_t>(0, col * tile_px - 24);
                         x < std::min<std::int64_t>(150, (col + 1) * tile_px + 24); ++x) {
                        all += 1;
                        inside += valid(y, x);
                        own = own || (valid(y, x) != 0 && y / tile_px == row && x / tile_px == col);
                    }
                }
                CHECK((seen[static_cast<std::size_t>(row * grid.cols() + col)] != 0) == (own || inside >= 0.5 * all));
            }
        }
        const auto sees = [&](std::int64_t y, std::int64_t x) {
            return seen[static_cast<std::size_t>(y / tile_px * grid.cols() + x / tile_px)] != 0;
        };
        CHECK(sees(60, 40));  // the star
        CHECK(sees(60, 90));  // the last column
        CHECK_FALSE(sees(60, 98));
        CHECK(sees(70, 130));
    }
}
