#include "bliss/training/judge.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/random.hpp"
#include "bliss/simulator/runtime.hpp"
#include "bliss/training/config.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include <cmath>

namespace {

using namespace bliss;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

}  // namespace

TEST_CASE("reliability: what was said against what came true") {
    training::Reliability reliability;
    CHECK(std::isnan(reliability.error()));
    for (int i = 0; i < 100; ++i) reliability.add(0.25, i < 35);   // 0.10 off
    for (int i = 0; i < 300; ++i) reliability.add(0.95, i < 285);  // right
    CHECK_THAT(reliability.error(), WithinRel(0.25 * 0.1, 1e-9));
    reliability.add(1.0, true);
    CHECK(reliability.bins.back().count == 301);
}

TEST_CASE("ranks: coverage and the chi-square test of flatness") {
    training::RankHistogram flat, narrow;
    RandomStream random{1, StreamPurpose::catalog, 0, 0};
    const int n = 20000;
    for (int i = 0; i < n; ++i) {
        const double u = random.uniform();
        flat.add(u);
        narrow.add(0.5 + 0.8 * (u - 0.5));  // true values lie too near the middle
    }
    CHECK(flat.total() == n);
    CHECK_THAT(flat.coverage(0.9), WithinAbs(0.9, 5 * std::sqrt(0.09 / n)));
    CHECK_THAT(flat.coverage(0.5), WithinAbs(0.5, 5 * std::sqrt(0.25 / n)));
    CHECK(flat.p_value() > 1e-4);
    CHECK(narrow.coverage(0.9) == 1);
    CHECK(narrow.p_value() < 1e-12);
    // 19 degrees of freedom: chi-square 30.14 has the p-value 0.05. Twenty bins of 100, one with e more, one with e less.
    training::RankHistogram known;
    const double excess = std::sqrt(30.1435 * 100 / 2);
    known.counts.fill(100);
    known.counts[3] += excess;
    known.counts[8] -= excess;
    CHECK_THAT(known.p_value(), WithinAbs(0.05, 1e-3));
}

TEST_CASE("ranks are those of each parameter in the slot of one source") {
    const simulator::Runtime runtime{1};
    const torch::NoGradGuard no_grad;
    torch::manual_seed(4);
    training::TrainingConfig config;
    config.tiles_per_side = 8;
    config.encoder = {.max_sources = 2, .reach = 0, .width = 4, .head_width = 16, .source_width = 4};
    config.simulator.conditions.sources_per_tile_low = config.simulator.conditions.sources_per_tile_high = 0.05;
    encoder::Model model{config.encoder};
    model.card.training_config = to_toml(config, false);
    // Numbers of a slot: places and widths in x and y, the flux against the anchor, its gain, its width; the slots are those of one
    // source, and of two. True places are uniform in the tile: of one source, x is said to lie at its left and y at its right side.
    const at::Tensor bias = model.detection->named_parameters()["head_out.bias"];
    at::Tensor numbers = bias.slice(0, config.encoder.max_sources + 1).view({7, 3});
    numbers[0] = torch::tensor({-2.0, 2.0, 2.0});
    numbers[1] = torch::tensor({2.0, -2.0, -2.0});
    numbers[4] = torch::tensor({4.0, -4.0, -4.0});
    const training::Judgement judgement = training::judge(model, 16 * 512, 3, comm::Communicator::self());
    const auto mean = [&](training::Parameter which) {
        const training::RankHistogram& ranks = judgement.all.ranks[static_cast<std::size_t>(which)];
        double sum = 0;
        for (std::size_t k = 0; k < training::k_rank_bins; ++k) sum += ranks.counts[k] * (static_cast<double>(k) + 0.5);
        return sum / ranks.total() / static_cast<double>(training::k_rank_bins);
    };
    REQUIRE(judgement.all.ranks[0].total() > 200);
    CHECK(mean(training::Parameter::x) > 0.6);  // truths lie right of what is said
    CHECK(mean(training::Parameter::y) < 0.4);
    CHECK(mean(training::Parameter::ln_flux) < 0.2);  // and are fainter
}

TEST_CASE("a model is judged on images of its own training prior, the same ones for any number of ranks") {
    const simulator::Runtime runtime{1};
    torch::manual_seed(4);
    training::TrainingConfig config;
    config.tiles_per_side = 8;
    config.encoder = {.width = 4, .head_width = 16, .source_width = 4};
    config.galaxies.vae = {.latents = 4, .gaussians = 3, .width = 8, .couplings = 1};
    config.simulator.prior.galaxies = simulator::GalaxyModel::learnt;
    config.simulator.conditions.sources_per_tile_low = config.simulator.conditions.sources_per_tile_high = 0.05;
    encoder::Model model{config.encoder, encoder::Galaxies{config.galaxies.vae, encoder::GalaxyDecoderNet{config.galaxies.vae}}};
    CHECK_THROWS_AS(training::judge(model, 1, 3, comm::Communicator::self()), DataError);
    model.card.training_config = to_toml(config, false);
    const std::int64_t tiles = 4 * 512;
    const training::Judgement alone = training::judge(model, tiles, 3, comm::Communicator::self());
    const training::Judgement together = training::judge(model, tiles, 3, comm::Communicator::world());
    CHECK(alone.tiles == tiles);
    CHECK(alone.found > 60);
    CHECK(alone.found < 150);
    // A new head says a third each for no source, one and two.
    CHECK_THAT(alone.expected, WithinRel(static_cast<double>(tiles), 1e-3));
    CHECK(alone.all.sources == alone.found);
    CHECK(alone.all.ranks[0].total() > 0.8 * alone.found);
    CHECK(alone.all.ranks[3].total() > 0);
    CHECK(alone.all.ranks[3].total() < alone.found);
    CHECK(alone.blended.sources < alone.found);
    CHECK(alone.nll == alone.nll_alone);  // nothing is made of the neighbours yet
    CHECK_THAT(together.nll, WithinRel(alone.nll, 1e-6));
    CHECK(together.found == alone.found);
    CHECK(together.all.ranks[4].counts == alone.all.ranks[4].counts);
    const torch::NoGradGuard no_grad;
    for (auto& weights : model.detection->parameters()) weights.add_(0.1 * torch::randn_like(weights));
    const training::Judgement told = training::judge(model, tiles, 3, comm::Communicator::self());
    CHECK(told.nll != told.nll_alone);
    const auto json = nlohmann::json::parse(training::to_json(alone));
    CHECK(json["tiles"] == tiles);
    CHECK(json["all"]["parameters"]["ln flux"]["count"] == alone.all.ranks[2].total());
    CHECK(training::to_text(alone).find("in blends") != std::string::npos);
}
