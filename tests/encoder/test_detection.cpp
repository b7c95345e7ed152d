#include "bliss/encoder/detection.hpp"

#include "bliss/encoder/classification.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/inference/posterior.hpp"
#include "bliss/survey/sdss.hpp"
#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"

#include <catch2/catch_test_macros.hpp>
#include <torch/torch.h>

#include <cmath>
#include <tuple>

namespace {

using namespace bliss;

/// Weights that are not those of a fresh network: every path, also the zero-initialised ones, carries signal.
encoder::DetectionEncoder scrambled_network() {
    torch::manual_seed(3);
    encoder::DetectionEncoder network{encoder::EncoderConfig{.width = 8, .head_width = 16}};
    const torch::NoGradGuard no_grad;
    for (auto& parameter : network->parameters()) parameter.add_(0.05 * torch::randn_like(parameter));
    return network;
}

encoder::ImageConditions some_conditions(double sources_per_tile = 0.01, float sign = 1) {
    return {sign * torch::tensor({{0.3f, -0.2f, 0.1f, 0.4f}}), torch::full({1, 1}, encoder::rate_conditioning(sources_per_tile)),
            torch::full({1, 1, 1, 1}, 3.4)};
}

constexpr std::int64_t k_channels = tile::feature_count(2);

at::Tensor features_of(const at::Tensor& electrons) {
    const tile::PixelBlock pixels{electrons, torch::full({1, 1, 1}, 400.0f), torch::ones_like(electrons, torch::kUInt8)};
    return tile::features(pixels, tile::matched_filters(survey::Psf::from_fwhm(4)).unsqueeze(0), {2, 30});
}

}  // namespace

TEST_CASE("dense equals tiled for every head on the real frame, fp32") {
    encoder::Model model = encoder::load_model(BLISS_SOURCE_ROOT "/configs/models/sdss-r.safetensors");
    const survey::Frame frame = survey::read_sdss_frame({BLISS_TEST_DATA "/sdss-94-1-12", {94, 1, 12}, "r"});
    const inference::FrameInput input = inference::prepare(frame, model.config, 0.0065);
    const at::Tensor dense = inference::detect_dense(model.detection, input)[0].flatten(1);  // (K, tiles)
    const tile::TileGrid grid{frame.height(), frame.width()};
    REQUIRE(dense.size(1) == grid.size());
    // Every 37th tile: all strips, the borders of strips and of the frame, bright stars and empty sky.
    std::vector<std::int64_t> tiles;
    for (std::int64_t t = 0; t < grid.size(); t += 37) tiles.push_back(t);
    const at::Tensor tiled = inference::detect_tiled(model.detection, input, tiles)[0].squeeze(1);  // (K, n)
    const at::Tensor difference = (dense.index_select(1, torch::tensor(tiles)) - tiled).abs();
    CHECK(tiled.std().item<double>() > 0.1);
    CHECK(difference.max().item<double>() <= 1e-5);
}

TEST_CASE("the receptive field is exactly the padded tile, matched filters included") {
    encoder::DetectionEncoder network = scrambled_network();
    const torch::NoGradGuard no_grad;
    const std::int64_t tiles = 15, side = tiles * tile::k_tile_px + 2 * tile::k_padding_px, row = 7, col = 6;
    const at::Tensor electrons = 400 + 20 * torch::randn({1, side, side});
    const auto answer = [&](const at::Tensor& image) {
        const at::Tensor out = network->forward(features_of(image), some_conditions());
        REQUIRE(out.sizes() == torch::IntArrayRef({1, 8, tiles, tiles}));
        return out.select(2, row).select(2, col).clone();
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

TEST_CASE("conditions change the answer") {
    encoder::DetectionEncoder network = scrambled_network();
    const at::Tensor x = torch::randn({1, k_channels, 52, 52});
    const at::Tensor answer = network->forward(x, some_conditions());
    CHECK_FALSE(torch::allclose(answer, network->forward(x, some_conditions(0.01, -1))));
    CHECK_FALSE(torch::allclose(answer, network->forward(x, some_conditions(0.02))));
}

TEST_CASE("posterior parameters stay in their ranges") {
    const encoder::EncoderConfig config{.max_sources = 2, .width = 8};
    encoder::DetectionEncoder network{config};
    const at::Tensor raw = 50 * torch::randn({2, 15, 6, 5});
    const encoder::TilePosterior q = network->posterior(raw, some_conditions().repeated(2));
    CHECK(q.count_logits.sizes() == torch::IntArrayRef({2, 3, 6, 5}));
    CHECK(q.u_mean.sizes() == torch::IntArrayRef({2, 2, 1, 6, 5}));
    CHECK(q.log_weight.abs().max().item<float>() == 0);
    for (const at::Tensor& sd : {q.u_sd, q.v_sd, q.ln_flux_sd}) {
        CHECK(sd.min().item<float>() > 0);
        CHECK(sd.max().item<float>() <= 3.001f);
    }
    CHECK(q.u_mean.min().item<float>() >= -1);
    CHECK(q.v_mean.max().item<float>() <= 2);
}

TEST_CASE("parts have shares that sum to one, and begin with different widths") {
    const encoder::EncoderConfig config{.max_sources = 2, .components = 3, .width = 8, .head_width = 16};
    encoder::DetectionEncoder network{config};
    const torch::NoGradGuard no_grad;
    const at::Tensor raw = network->forward(torch::randn({1, k_channels, 56, 60}), some_conditions());
    REQUIRE(raw.sizes() == torch::IntArrayRef({1, 3 + 7 * 2 * 3, 2, 3}));
    const encoder::TilePosterior q = network->posterior(raw, some_conditions());
    CHECK(q.u_mean.sizes() == torch::IntArrayRef({1, 2, 3, 2, 3}));
    CHECK(torch::allclose(q.log_weight.exp().sum(2), torch::ones({1, 2, 2, 3})));
    for (const at::Tensor& sd : {q.u_sd, q.v_sd, q.ln_flux_sd}) {
        CHECK((sd.select(2, 1) > 1.5 * sd.select(2, 0)).all().item<bool>());
        CHECK((sd.select(2, 2) > 1.5 * sd.select(2, 1)).all().item<bool>());
    }
}

TEST_CASE("the classifier's PSF channel is the PSF at the exact place of the source") {
    const survey::Psf psf = survey::Psf::from_fwhm(3.5);
    encoder::SourceWindows windows;
    windows.features = torch::zeros({2, k_channels, 52, 52});
    windows.offset_px = torch::tensor({{0.0f, 0.0f}, {0.4f, -0.3f}});
    windows.conditions = torch::zeros({2, encoder::k_condition_count});
    windows.psf_profiles = torch::tensor(encoder::psf_profile(psf)).unsqueeze(0);
    windows.psf_index = torch::zeros({2}, torch::kLong);
    const at::Tensor channel = encoder::psf_channel(windows);
    REQUIRE(channel.sizes() == torch::IntArrayRef({2, 1, 52, 52}));
    for (const auto& [window, x, y] : {std::tuple{0, 26.0, 26.0}, {1, 26.4, 25.7}}) {
        for (std::int64_t row = 22; row <= 30; ++row) {
            for (std::int64_t col = 22; col <= 30; ++col) {
                const double radius = std::hypot(static_cast<double>(col) - x, static_cast<double>(row) - y);
                const double expected = std::log(psf.value(radius) / psf.value(0)) / 4;
                CHECK(std::abs(channel[window][0][row][col].item<double>() - std::max(-2.0, expected)) < 2e-3);
            }
        }
    }
    torch::manual_seed(5);
    encoder::ClassificationEncoder network{encoder::EncoderConfig{.classifier_width = 4}};
    const at::Tensor logits = network->forward(windows);
    REQUIRE(logits.sizes() == torch::IntArrayRef({2}));
    CHECK(logits[0].item<float>() != logits[1].item<float>());
}
