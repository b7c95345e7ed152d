#include "bliss/encoder/detection.hpp"

#include "bliss/encoder/model.hpp"
#include "bliss/encoder/neighbours.hpp"
#include "bliss/inference/posterior.hpp"
#include "bliss/survey/sdss.hpp"
#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace {

using namespace bliss;

/// Weights that are not those of a fresh network: every path, also the zero-initialised ones, carries signal.
encoder::DetectionEncoder scrambled_network(const encoder::EncoderConfig& config = {.width = 8, .head_width = 16}) {
    torch::manual_seed(3);
    encoder::DetectionEncoder network{config};
    const torch::NoGradGuard no_grad;
    for (auto& parameter : network->parameters()) parameter.add_(0.05 * torch::randn_like(parameter));
    return network;
}

encoder::ImageConditions some_conditions(double sources_per_tile = 0.01, float sign = 1) {
    return {sign * torch::tensor({{0.3f, -0.2f, 0.1f, 0.4f}}), torch::full({1, 1}, encoder::rate_conditioning(sources_per_tile)),
            torch::full({1, 1}, 3.4)};
}

constexpr std::int64_t k_channels = tile::feature_count(2);

/// Numbers of a tile: hidden ones, and its anchor.
std::int64_t tile_numbers(bool place_anchor) { return 16 + (place_anchor ? 3 : 1); }

at::Tensor features_of(const at::Tensor& electrons) {
    const tile::PixelBlock pixels{electrons, torch::full({1, 1, 1}, 400.0f), torch::ones_like(electrons, torch::kUInt8)};
    return tile::features(pixels, tile::matched_filters(survey::Psf::from_fwhm(4)).unsqueeze(0), {2, 30});
}

}  // namespace

TEST_CASE("dense equals tiled for every tile on the real frame, fp32") {
    encoder::Model model = encoder::load_model(BLISS_SOURCE_ROOT "/configs/models/sdss-r.safetensors");
    const survey::Frame frame = survey::read_sdss_frame({BLISS_TEST_DATA "/sdss-94-1-12", {94, 1, 12}, "r"});
    inference::FrameInput input = inference::prepare(frame, model.config);
    input.conditions.rate = torch::full({1, 1}, encoder::rate_conditioning(0.0065));
    const at::Tensor dense = inference::trunk_dense(model.detection, input);  // (rows, cols, hidden)
    const tile::TileGrid grid{frame.height(), frame.width()};
    REQUIRE(dense.size(0) == grid.rows());
    REQUIRE(dense.size(1) == grid.cols());
    // Every 37th tile: all strips, the borders of strips and of the frame, bright stars and empty sky.
    std::vector<std::int64_t> tiles;
    for (std::int64_t t = 0; t < grid.size(); t += 37) tiles.push_back(t);
    const at::Tensor tiled = inference::trunk_tiled(model.detection, input, tiles).flatten(0, 2);
    const at::Tensor picked = dense.flatten(0, 1).index_select(0, torch::tensor(tiles));
    CHECK(tiled.std().item<double>() > 0.1);
    CHECK((picked - tiled).abs().max().item<double>() <= 1e-4);  // hidden numbers reach 100
    // What the head makes of them: every number of the posterior's raw form.
    const torch::NoGradGuard no_grad;
    const auto answer = [&](const at::Tensor& numbers) { return model.detection->head(numbers.unsqueeze(0), {}, input.conditions); };
    CHECK((answer(picked) - answer(tiled)).abs().max().item<double>() <= 1e-5);
}

TEST_CASE("tiles of 2 pixels: dense equals tiled, and each tile of four answers by its own pixels") {
    const bool place_anchor = GENERATE(false, true);
    encoder::DetectionEncoder network = scrambled_network({.tile_px = 2, .place_anchor = place_anchor, .width = 8, .head_width = 16});
    const torch::NoGradGuard no_grad;
    inference::FrameInput input;
    torch::manual_seed(8);
    input.features = torch::randn({1, k_channels, 4 * 6 + 48, 4 * 5 + 48});
    input.conditions = some_conditions();
    const at::Tensor dense = inference::trunk_dense(network, input);
    REQUIRE(dense.sizes() == torch::IntArrayRef({12, 10, tile_numbers(place_anchor)}));
    const at::Tensor tiled = inference::trunk_tiled(network, input, {0, 7, 13, 29});  // (cells, 2, 2, hidden)
    REQUIRE(tiled.sizes() == torch::IntArrayRef({4, 2, 2, tile_numbers(place_anchor)}));
    const std::int64_t cells[] = {0, 7, 13, 29};
    for (std::int64_t k = 0; k < 4; ++k) {
        const std::int64_t row = 2 * (cells[k] / 5), col = 2 * (cells[k] % 5);
        const at::Tensor square = dense.slice(0, row, row + 2).slice(1, col, col + 2);
        CHECK(torch::allclose(square, tiled[k], 1e-4, 1e-5));
        CHECK_FALSE(torch::allclose(square[0][0], square[1][1], 1e-2, 1e-2));
    }
}

TEST_CASE("the receptive field is exactly the padded tile, matched filters included") {
    const bool place_anchor = GENERATE(false, true);
    encoder::DetectionEncoder network = scrambled_network({.place_anchor = place_anchor, .width = 8, .head_width = 16});
    const torch::NoGradGuard no_grad;
    const std::int64_t tiles = 15, side = tiles * tile::k_tile_px + 2 * tile::k_padding_px, row = 7, col = 6;
    const at::Tensor electrons = 400 + 20 * torch::randn({1, side, side});
    const auto answer = [&](const at::Tensor& image) {
        const at::Tensor out = network->trunk(features_of(image), some_conditions());
        REQUIRE(out.sizes() == torch::IntArrayRef({1, tiles, tiles, tile_numbers(place_anchor)}));
        return out[0][row][col].clone();
    };
    const at::Tensor before = answer(electrons);
    const auto seen = [&](std::int64_t y, std::int64_t x) {
        at::Tensor changed = electrons.clone();
        changed[0][y][x] = 1e5;
        return !torch::equal(answer(changed), before);
    };
    const std::int64_t top = row * tile::k_tile_px, left = col * tile::k_tile_px, last = tile::k_padded_tile_px - 1;
    for (const std::int64_t along : {0, 20, 51}) {
        CHECK(seen(top, left + along));
        CHECK(seen(top + last, left + along));
        CHECK(seen(top + along, left));
        CHECK(seen(top + along, left + last));
        CHECK_FALSE(seen(top - 1, left + along));
        CHECK_FALSE(seen(top + last + 1, left + along));
        CHECK_FALSE(seen(top + along, left - 1));
        CHECK_FALSE(seen(top + along, left + last + 1));
    }
}

TEST_CASE("conditions and what neighbours hold change the answer") {
    encoder::DetectionEncoder network = scrambled_network();
    const at::Tensor x = torch::randn({1, k_channels, 52, 52});
    const std::int64_t length = encoder::context_length(1, 2);
    const auto answer = [&](const encoder::ImageConditions& conditions, const at::Tensor& context) {
        return network->head(network->trunk(x, conditions).flatten(1, 2), context, conditions);
    };
    const at::Tensor nothing = torch::zeros({1, 1, length}), something = torch::randn({1, 1, length});
    const at::Tensor before = answer(some_conditions(), nothing);
    CHECK_FALSE(torch::allclose(before, answer(some_conditions(0.01, -1), nothing)));
    CHECK_FALSE(torch::allclose(before, answer(some_conditions(0.02), nothing)));
    CHECK_FALSE(torch::allclose(before, answer(some_conditions(), something)));
    CHECK(torch::allclose(before, answer(some_conditions(), {})));  // nothing told is all zeros
    // A network of reach 0 has nothing to be told.
    encoder::DetectionEncoder alone = scrambled_network({.reach = 0, .width = 8, .head_width = 16});
    CHECK(alone->head(alone->trunk(x, some_conditions()).flatten(1, 2), {}, some_conditions()).isfinite().all().item<bool>());
}

TEST_CASE("posterior parameters stay in their ranges") {
    const encoder::EncoderConfig config{.max_sources = 2, .place_anchor = true, .width = 8};
    encoder::DetectionEncoder network{config};
    const at::Tensor raw = 50 * torch::randn({2, 30, 3 + 8 * 3 + 3});
    raw.slice(2, raw.size(2) - 2).uniform_(-0.5, 1.5);  // the anchor's place
    const encoder::TilePosterior q = network->posterior(raw, some_conditions().repeated(2));
    CHECK(q.count_logits.sizes() == torch::IntArrayRef({60, 3}));
    CHECK(q.u_mean.sizes() == torch::IntArrayRef({60, 3, 1}));
    CHECK(q.log_weight.abs().max().item<float>() == 0);
    for (const at::Tensor& sd : {q.u_sd, q.v_sd, q.ln_flux_sd}) {
        CHECK(sd.min().item<float>() > 0);
        CHECK(sd.max().item<float>() <= 3.001f);
    }
    CHECK(q.u_mean.min().item<float>() >= -1);
    CHECK(q.v_mean.max().item<float>() <= 2);
}

namespace {

struct Star {
    double x, y, flux_e;
};

/// What a new network says of stars on an image without noise, of 2 x 3 tiles of 4 pixels with their padding.
/// @param stretch of the stars' PSF along the diagonal, against the round one that the network is told
encoder::TilePosterior first_answer(const std::vector<Star>& stars, const survey::Psf& psf, std::int64_t tile_px = 4, double stretch = 1,
                                    bool place_anchor = true, double saturation_e = std::numeric_limits<double>::infinity()) {
    encoder::DetectionEncoder network{
        encoder::EncoderConfig{.tile_px = tile_px, .place_anchor = place_anchor, .width = 8, .head_width = 16}};
    const torch::NoGradGuard no_grad;
    at::Tensor electrons = torch::full({1, 56, 60}, 400.0f);
    auto pixels = electrons.accessor<float, 3>();
    for (const Star& star : stars) {
        for (std::int64_t row = 0; row < 56; ++row) {
            for (std::int64_t col = 0; col < 60; ++col) {
                const double dx = static_cast<double>(col) - star.x, dy = static_cast<double>(row) - star.y;
                const double along = (dx + dy) / std::numbers::sqrt2 / stretch, across = (dx - dy) / std::numbers::sqrt2 * stretch;
                pixels[0][row][col] += static_cast<float>(star.flux_e * psf.value(std::hypot(along, across)));
            }
        }
    }
    const tile::PixelBlock block{electrons, torch::full({1, 1, 1}, 400.0f), (electrons < saturation_e).to(torch::kUInt8)};
    const at::Tensor features = tile::features(block, tile::matched_filters(psf).unsqueeze(0), {2, 30});
    const auto numbers = encoder::conditioning(psf, 400);
    const encoder::ImageConditions conditions{torch::tensor({{numbers[0], numbers[1], numbers[2], numbers[3]}}), torch::zeros({1, 1}),
                                              torch::full({1, 1}, 0.5 * std::log(400.0))};
    const at::Tensor tiles = network->trunk(features, conditions).flatten(1, 2);
    return network->posterior(network->head(tiles, {}, conditions), conditions);
}

/// Pixels from a tile's left or upper border to where the anchor alone would be: a new network gives it sigmoid(2) of the location, and the
/// tile's middle the rest.
double anchored_px(const at::Tensor& mean, std::int64_t tile, double tile_px = 4) {
    const double share = 1 / (1 + std::exp(-2.0));
    return tile_px * (mean[tile][0][0].item<double>() - 0.5 * (1 - share)) / share;
}

}  // namespace

TEST_CASE("a new network takes the flux of a star from its matched filter") {
    const double flux_e = 2e4;
    const encoder::TilePosterior q = first_answer({{31.2, 25.6, flux_e}}, survey::Psf::from_fwhm(4), 4, 1, false);  // in tile (0, 1)
    CHECK(std::abs(q.ln_flux_mean[1][0][0].item<double>() - std::log(flux_e)) < 0.25);
    CHECK(q.ln_flux_mean[3][0][0].item<double>() < std::log(flux_e) - 0.5);  // in tile (1, 0) only the PSF's outskirts are seen
    CHECK(q.u_mean[1][0][0].item<double>() == 0.5);
}

TEST_CASE("a new network may take place and flux of a star from its matched filter, whatever the PSF") {
    const Star at{30.7, 25.6, 0};  // in tile (0, 1): 3.2 and 2.1 pixels from its borders
    for (const double flux_e : {5e3, 2e4, 1e6}) {
        for (const double fwhm : {2.6, 3.3, 4.6}) {  // a Gaussian's logarithm is a parabola
            const encoder::TilePosterior q = first_answer({{at.x, at.y, flux_e}}, survey::Psf::from_fwhm(fwhm));
            CHECK(std::abs(q.ln_flux_mean[1][0][0].item<double>() - std::log(flux_e)) < 0.005);
            CHECK(std::abs(anchored_px(q.u_mean, 1) - 3.2) < 0.005);
            CHECK(std::abs(anchored_px(q.v_mean, 1) - 2.1) < 0.005);
            CHECK(q.ln_flux_mean[3][0][0].item<double>() < std::log(flux_e) - 0.4);  // in tile (1, 0) only its outskirts are seen
        }
        // A core and wings, out of round.
        const survey::Psf psf({{1.0, 1.2}, {0.1, 2.8}});
        const encoder::TilePosterior q = first_answer({{at.x, at.y, flux_e}}, psf, 4, 1.08);
        CHECK(std::abs(anchored_px(q.u_mean, 1) - 3.2) < 0.01);
        CHECK(std::abs(anchored_px(q.v_mean, 1) - 2.1) < 0.01);
        CHECK(std::abs(q.ln_flux_mean[1][0][0].item<double>() - std::log(flux_e)) < 0.02);
    }
}

TEST_CASE("saturated cores and images without a valid pixel have finite anchors") {
    for (const double saturation_e : {2e4, 100.0}) {  // below the sky, too
        const encoder::TilePosterior q = first_answer({{30.7, 25.6, 1e6}}, survey::Psf::from_fwhm(3.3), 4, 1, true, saturation_e);
        for (const at::Tensor& mean : {q.u_mean, q.v_mean}) {
            CHECK(mean.min().item<double>() > -1);
            CHECK(mean.max().item<double>() < 2);
        }
        for (const at::Tensor& number : {q.u_sd, q.v_sd, q.ln_flux_mean, q.ln_flux_sd}) CHECK(torch::isfinite(number).all().item<bool>());
        CHECK(q.ln_flux_mean.max().item<double>() < std::log(1e6) + 1);
    }
}

TEST_CASE("tiles of 2 pixels take places in themselves") {
    const encoder::TilePosterior q = first_answer({{30.7, 25.6, 2e4}}, survey::Psf::from_fwhm(3.3), 2);
    const std::int64_t tile = 0 * 6 + 3;  // of 4 x 6: columns 30 and 31, rows 24 and 25
    CHECK(std::abs(anchored_px(q.u_mean, tile, 2) - 1.2) < 0.005);
    CHECK(std::abs(anchored_px(q.v_mean, tile, 2) - 2.1) < 0.005);  // a tenth of a pixel below this tile
    CHECK(std::abs(anchored_px(q.v_mean, tile + 6, 2) - 0.1) < 0.005);
}

TEST_CASE("a star is not lost beside a brighter one of the next tile") {
    // The tile's right border is brighter than its star, which is a peak.
    const encoder::TilePosterior q = first_answer({{24.0, 26.0, 1e4}, {30.0, 26.0, 1e5}}, survey::Psf::from_fwhm(2.6));
    CHECK(std::abs(anchored_px(q.u_mean, 0) - 0.5) < 0.2);  // the other's light pulls it 0.1 pixels
    CHECK(std::abs(anchored_px(q.v_mean, 0) - 2.5) < 0.02);
    // The brighter peak is a pixel of the next tile's that touches this one, and beyond doubt not this one's.
    const encoder::TilePosterior touching = first_answer({{24.0, 24.0, 2e4}, {28.0, 27.0, 4e4}}, survey::Psf::from_fwhm(2.6));
    CHECK(std::abs(anchored_px(touching.u_mean, 0) - 0.5) < 0.2);
    CHECK(std::abs(anchored_px(touching.v_mean, 0) - 0.5) < 0.2);
    // A faint one whose peak is there may be this tile's.
    const encoder::TilePosterior faint = first_answer({{27.6, 26.0, 500}}, survey::Psf::from_fwhm(2.6));
    CHECK(std::abs(anchored_px(faint.u_mean, 0) - 4.1) < 0.02);
}

TEST_CASE("each count has slots of its own") {
    CHECK(encoder::slot_index(1, 0) == 0);
    CHECK(encoder::slot_index(2, 0) == 1);
    CHECK(encoder::slot_index(2, 1) == 2);
    CHECK(encoder::slot_index(4, 3) == 9);
    CHECK(encoder::slot_count(1) == 1);
    CHECK(encoder::slot_count(4) == 10);
}

TEST_CASE("parts have shares that sum to one, and begin with different widths") {
    const encoder::EncoderConfig config{.max_sources = 2, .components = 3, .width = 8, .head_width = 16};
    encoder::DetectionEncoder network{config};
    const torch::NoGradGuard no_grad;
    const auto conditions = some_conditions();
    const at::Tensor tiles = network->trunk(torch::randn({1, k_channels, 56, 60}), conditions).flatten(1, 2);
    const at::Tensor raw = network->head(tiles, {}, conditions);
    REQUIRE(raw.sizes() == torch::IntArrayRef({1, 6, 3 + 8 * 3 * 3 + 1}));
    const encoder::TilePosterior q = network->posterior(raw, conditions);
    CHECK(q.u_mean.sizes() == torch::IntArrayRef({6, 3, 3}));
    CHECK(torch::allclose(q.log_weight.exp().sum(2), torch::ones({6, 3})));
    for (const at::Tensor& sd : {q.u_sd, q.v_sd, q.ln_flux_sd}) {
        CHECK((sd.select(2, 1) > 1.5 * sd.select(2, 0)).all().item<bool>());
        CHECK((sd.select(2, 2) > 1.5 * sd.select(2, 1)).all().item<bool>());
    }
}

TEST_CASE("widths are corrected by brightness: new terms change nothing, constant ones scale") {
    encoder::EncoderConfig config{.components = 2, .width = 8, .head_width = 16};
    torch::manual_seed(4);
    const encoder::DetectionEncoder plain{config};
    config.width_terms = 3;
    config.flux_low_e = 300;
    torch::manual_seed(4);
    encoder::DetectionEncoder corrected{config};
    const at::Tensor raw = torch::randn({1, 5, corrected->head(torch::zeros({1, 5, tile_numbers(false)}), {}, some_conditions()).size(2)});
    const encoder::TilePosterior before = plain->posterior(raw, some_conditions()), fresh = corrected->posterior(raw, some_conditions());
    CHECK(torch::equal(before.u_sd, fresh.u_sd));
    CHECK(torch::equal(before.ln_flux_mean, fresh.ln_flux_mean));
    CHECK(before.ln_flux_low == -std::numeric_limits<double>::infinity());
    CHECK(std::abs(fresh.ln_flux_low - std::log(300.0)) < 1e-12);
    at::Tensor terms;
    for (const auto& item : corrected->named_parameters()) {
        if (item.key() == "width_terms") terms = item.value();
    }
    {
        const torch::NoGradGuard no_grad;
        terms[0][0] = -0.2;
        terms[1][0] = 0.1;
        terms[2][0] = 0.5;
        terms[0][1] = 0.3;   // brighter parts are wider
    }
    const encoder::TilePosterior q = corrected->posterior(raw, some_conditions());
    const at::Tensor brightness = torch::tanh((before.ln_flux_mean - 3.4 - 6) / 2);
    CHECK(torch::allclose(q.u_sd, before.u_sd * torch::exp(-0.2 + 0.3 * brightness), 1e-4));
    CHECK(torch::allclose(q.v_sd / before.v_sd, q.u_sd / before.u_sd, 1e-4));
    CHECK(torch::allclose(q.ln_flux_sd, before.ln_flux_sd * std::exp(0.1), 1e-4));
    CHECK(torch::allclose(q.ln_flux_mean, before.ln_flux_mean + 0.5 * q.ln_flux_sd, 1e-4));
    q.u_sd.sum().backward();
    CHECK(terms.grad()[0].abs().min().item<float>() > 0);
}
