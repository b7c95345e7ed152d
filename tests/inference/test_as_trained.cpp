// What the networks are given at inference is what they were given in training: one simulated image, both ways.
#include "batch.hpp"
#include "bliss/inference/single_sources.hpp"
#include "bliss/inference/turns.hpp"
#include "bliss/simulator/runtime.hpp"
#include "bliss/tile/grid.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <torch/torch.h>

namespace {

using namespace bliss;
using Catch::Matchers::WithinAbs;

training::TrainingConfig some_config(std::int64_t tile_px, std::int64_t reach) {
    training::TrainingConfig config;
    config.tiles_per_side = 40 / tile_px;
    config.encoder = {
        .tile_px = tile_px, .reach = reach, .components = 2, .width = 8, .head_width = 16, .source_width = 4};
    config.simulator.conditions.sources_per_tile_low = config.simulator.conditions.sources_per_tile_high = 0.15;
    config.simulator.conditions.edge_share = 0;
    return config;
}

/// The image of a batch as a frame: its pixels with the padding.
survey::Frame frame_of(const training::TrainingConfig& config, const simulator::SampleRange& range, std::int64_t side) {
    survey::Frame frame{.id = {},
                        .band = "r",
                        .electrons = Image<float>{side, side},
                        .background_e = Image<float>{side, side},
                        .valid = Image<std::uint8_t>{side, side},
                        .electrons_per_nmgy = std::vector<float>(static_cast<std::size_t>(side), 987.0f),
                        .psf = survey::Psf::from_fwhm(3),
                        .wcs = {},
                        .source = "simulated"};
    const auto truth = simulator::simulate(config.simulator, nullptr, range, {{frame.electrons.data(), 1, side, side}, frame.valid.data()});
    for (float& background : frame.background_e.pixels()) background = static_cast<float>(truth[0].conditions.background_e);
    frame.psf = truth[0].conditions.psf;
    return frame;
}

}  // namespace

TEST_CASE("tiles, contexts and windows are those of training") {
    const simulator::Runtime runtime{1};
    const torch::NoGradGuard no_grad;
    for (const auto& [tile_px, reach] : {std::pair<std::int64_t, std::int64_t>{4, 1}, {2, 2}}) {
        INFO("tiles of " << tile_px << " px");
        const training::TrainingConfig config = some_config(tile_px, reach);
        torch::manual_seed(9);
        encoder::Model model{config.encoder};
        model.prior = config.simulator.prior;
        for (const auto& [name, weights] : encoder::named_weights(model)) at::Tensor{weights}.add_(0.05 * torch::randn_like(weights));

        const simulator::SampleRange range{3, 1, 0};
        const training::Batch batch = training::make_batch(config, nullptr, range, 1);
        REQUIRE(batch.labels.sources.size() > 5);
        const at::Tensor tiles = model.detection->trunk(batch.features, batch.conditions).flatten(1, 2);
        const encoder::TilePosterior q =
            model.detection->posterior(model.detection->head(tiles, batch.context, batch.conditions), batch.conditions);

        const std::int64_t side = 40 + 2 * tile::k_padding_px, first = tile::k_padding_px / tile_px, per_side = config.tiles_per_side;
        const survey::Frame frame = frame_of(config, range, side);
        inference::FrameInput input = inference::prepare(frame, config.encoder);
        input.conditions.rate = batch.conditions.rate;
        const inference::FieldPrior prior = inference::prior_above_limit(model.prior, 0.15);
        const inference::PriorShift shift{model.prior, prior, prior};
        const inference::NetworkChain chain{model.detection, config.encoder, input.conditions,
                                            inference::trunk_dense(model.detection, input), shift};
        // The true sources on the frame's own board of tiles.
        encoder::DrawnTiles drawn = chain.nothing_drawn();
        for (std::int64_t row = 0; row < per_side; ++row) {
            for (std::int64_t col = 0; col < per_side; ++col) drawn.set(row + first, col + first, batch.labels.drawn[0].sources(row, col));
        }
        std::vector<TileIndex> asked;  // tiles whose neighbours are all labelled
        for (std::int64_t row = reach; row < per_side - reach; ++row) {
            for (std::int64_t col = reach; col < per_side - reach; ++col) {
                asked.push_back({static_cast<std::int32_t>(row + first), static_cast<std::int32_t>(col + first)});
            }
        }
        const at::Tensor expected = torch::softmax(q.count_logits, 1), found = chain.ask(asked, drawn).count_probabilities();
        for (std::size_t k = 0; k < asked.size(); ++k) {
            const std::int64_t tile = (asked[k].row - first) * per_side + asked[k].col - first;
            REQUIRE((found[static_cast<std::int64_t>(k)] - expected[tile]).abs().max().item<double>() < 1e-4);
        }
        CHECK(expected.std(0).min().item<double>() > 1e-3);  // tiles differ, or this would compare nothing

        const training::SourceBatch picked = training::pick_sources(batch, q, training::GivenAs::drawn, 1000);
        const at::Tensor p_star = torch::sigmoid(model.sources->forward(picked.windows).star_logits);
        std::vector<encoder::GivenSource> given;
        for (const training::LabelledSource& s : batch.labels.sources) {
            given.push_back({.x_px = s.x_px, .y_px = s.y_px, .ln_flux_above_noise = s.ln_flux_e - chain.shape().ln_noise});
        }
        const std::vector<double> p = inference::SourceReader{model, input, frame.psf, shift}.p_star(given);
        int compared = 0;
        for (std::size_t k = 0; k < p.size(); ++k) {
            // Windows that reach over the image's edge see nothing there in training, and half a filter's width on a frame.
            const auto inside = [&](double at) { return at > 27 && at < static_cast<double>(side) - 28; };
            if (!inside(given[k].x_px) || !inside(given[k].y_px)) continue;
            ++compared;
            CHECK_THAT(p[k], WithinAbs(p_star[static_cast<std::int64_t>(k)].item<double>(), 1e-4));
        }
        CHECK(compared > 3);

        // The mode tells of a tile's claim what training tells of its posterior.
        const training::SourceBatch mixed = training::pick_sources(batch, q, training::GivenAs::mixed, 1000);
        const inference::TileReader reader{q, tile_px};
        int by_moments = 0;
        for (std::size_t k = 0; k < batch.labels.sources.size(); ++k) {
            const float* const numbers = mixed.windows.given[static_cast<std::int64_t>(k)].data_ptr<float>();
            if (numbers[2] == 0) continue;  // given as it is
            ++by_moments;
            const std::int64_t tile = batch.labels.sources[k].tile;
            const TileIndex on_frame{static_cast<std::int32_t>(tile / per_side + first),
                                     static_cast<std::int32_t>(tile % per_side + first)};
            const inference::Candidate claim = reader.claim(tile, on_frame, 1, 0, 1);
            const auto same = encoder::given_numbers({claim.x_px.mean, claim.y_px.mean, claim.x_px.sd, claim.y_px.sd,
                                                      claim.ln_flux_e.mean - chain.shape().ln_noise, claim.ln_flux_e.sd});
            for (std::size_t i = 0; i < same.size(); ++i) CHECK_THAT(same[i], WithinAbs(numbers[i], 1e-3));
        }
        CHECK(by_moments > 0);
    }
}
