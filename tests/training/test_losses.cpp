#include "bliss/training/losses.hpp"

#include "bliss/training/labels.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <torch/torch.h>

#include <cmath>

namespace {

using namespace bliss;
using Catch::Matchers::WithinRel;

/// A posterior of one image of 2 x 2 tiles with M slots; parameters differ from tile to tile and slot to slot.
encoder::TilePosterior some_posterior(std::int64_t slots, std::int64_t parts = 1) {
    torch::manual_seed(2);
    encoder::TilePosterior q;
    q.count_logits = torch::randn({1, slots + 1, 2, 2});
    q.log_weight = torch::log_softmax(torch::randn({1, slots, parts, 2, 2}), 2);
    q.u_mean = torch::rand({1, slots, parts, 2, 2});
    q.v_mean = torch::rand({1, slots, parts, 2, 2});
    q.u_sd = 0.1 + torch::rand({1, slots, parts, 2, 2});
    q.v_sd = 0.1 + torch::rand({1, slots, parts, 2, 2});
    q.ln_flux_mean = 7 + torch::randn({1, slots, parts, 2, 2});
    q.ln_flux_sd = 0.2 + torch::rand({1, slots, parts, 2, 2});
    return q;
}

double phi(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

/// -ln of Normal(x; mean, sd), and of the same truncated to the unit interval: the textbook forms.
double normal_nll(double x, double mean, double sd) { return 0.5 * std::pow((x - mean) / sd, 2) + std::log(sd) + 0.5 * std::log(2 * M_PI); }
double truncated_nll(double x, double mean, double sd) {
    return normal_nll(x, mean, sd) + std::log(phi((1 - mean) / sd) - phi((0 - mean) / sd));
}

double source_nll(const encoder::TilePosterior& q, const training::LabelledSource& s, std::int64_t slot, std::int64_t part = 0) {
    const auto p = [&](const at::Tensor& t) { return t[0][slot][part][s.tile_row][s.tile_col].item<double>(); };
    return truncated_nll(s.u, p(q.u_mean), p(q.u_sd)) + truncated_nll(s.v, p(q.v_mean), p(q.v_sd)) +
           normal_nll(s.ln_flux_e, p(q.ln_flux_mean), p(q.ln_flux_sd));
}

training::LabelledSource source(std::int64_t row, std::int64_t col, std::int64_t slot, float u, float v, float ln_flux) {
    return {.tile_row = row, .tile_col = col, .slot = slot, .u = u, .v = v, .ln_flux_e = ln_flux, .is_star = true};
}

}  // namespace

TEST_CASE("the count loss is the cross-entropy over tiles") {
    const encoder::TilePosterior q = some_posterior(1);
    training::Labels labels{torch::zeros({1, 2, 2}, torch::kLong), {source(0, 1, 0, 0.2f, 0.7f, 7.5f)}};
    labels.count[0][0][1] = 1;
    double expected = 0;
    for (std::int64_t row = 0; row < 2; ++row) {
        for (std::int64_t col = 0; col < 2; ++col) {
            const double a = q.count_logits[0][0][row][col].item<double>(), b = q.count_logits[0][1][row][col].item<double>();
            expected -= (row == 0 && col == 1 ? b : a) - std::log(std::exp(a) + std::exp(b));
        }
    }
    CHECK_THAT(training::detection_loss(q, labels).count.item<double>(), WithinRel(expected, 1e-5));
}

TEST_CASE("one source in a tile costs its exact negative log density") {
    const encoder::TilePosterior q = some_posterior(1);
    training::Labels labels{torch::zeros({1, 2, 2}, torch::kLong), {source(0, 1, 0, 0.2f, 0.7f, 7.5f), source(1, 0, 0, 0.99f, 0.01f, 6.4f)}};
    labels.count[0][0][1] = 1;
    labels.count[0][1][0] = 1;
    const training::DetectionLoss loss = training::detection_loss(q, labels);
    CHECK_THAT(loss.location.item<double>() + loss.flux.item<double>(),
               WithinRel(source_nll(q, labels.sources[0], 0) + source_nll(q, labels.sources[1], 0), 1e-4));
}

TEST_CASE("several parts are a mixture of their joint densities") {
    const encoder::TilePosterior q = some_posterior(1, 3);
    const auto s = source(0, 1, 0, 0.2f, 0.7f, 7.5f);
    training::Labels labels{torch::zeros({1, 2, 2}, torch::kLong), {s}};
    labels.count[0][0][1] = 1;
    double density = 0;
    for (std::int64_t part = 0; part < 3; ++part) {
        density += std::exp(q.log_weight[0][0][part][0][1].item<double>() - source_nll(q, s, 0, part));
    }
    const training::DetectionLoss loss = training::detection_loss(q, labels);
    CHECK_THAT(loss.location.item<double>() + loss.flux.item<double>(), WithinRel(-std::log(density), 1e-4));
}

TEST_CASE("two sources in a tile are a set: the mean over orderings, whatever their order") {
    const encoder::TilePosterior q = some_posterior(2);
    const auto a = source(1, 1, 0, 0.2f, 0.7f, 7.5f), b = source(1, 1, 1, 0.6f, 0.1f, 6.9f);
    at::Tensor count = torch::zeros({1, 2, 2}, torch::kLong);
    count[0][1][1] = 2;
    const double straight = source_nll(q, a, 0) + source_nll(q, b, 1), crossed = source_nll(q, a, 1) + source_nll(q, b, 0);
    const double expected = -std::log(0.5 * (std::exp(-straight) + std::exp(-crossed)));
    const training::DetectionLoss one = training::detection_loss(q, {count, {a, b}});
    const training::DetectionLoss other = training::detection_loss(q, {count, {b, a}});
    CHECK_THAT(one.location.item<double>(), WithinRel(expected, 1e-4));
    CHECK_THAT(other.location.item<double>(), WithinRel(expected, 1e-4));
}

TEST_CASE("labels: the brightest sources above the limit, in the tile their centre is in") {
    const survey::Psf psf = survey::Psf::from_fwhm(3);
    simulator::ImageTruth truth{{0.01, 900, 1e5, psf}, {}};
    const auto add = [&](double x, double y, double flux) { truth.sources.push_back({x, y, true, flux, {}}); };
    add(24 + 5.0, 24 + 2.0, 9000);   // tile row 0, column 1
    add(24 + 6.0, 24 + 1.0, 5000);   // the same tile, fainter
    add(24 + 7.49, 24 + 7.6, 800);   // tile row 2, column 1
    add(20.0, 40.0, 700);            // in the padding
    add(24 + 1.0, 24 + 1.0, 400);    // below the limit
    const training::Labels labels = training::make_labels({truth}, 500, 4, 1);
    REQUIRE(labels.sources.size() == 2);
    CHECK(labels.count.sum().item<std::int64_t>() == 2);
    CHECK(labels.count[0][0][1].item<std::int64_t>() == 1);
    CHECK(labels.count[0][2][1].item<std::int64_t>() == 1);
    CHECK_THAT(labels.sources[0].u, WithinRel(1.5f / 4, 1e-5f));
    CHECK_THAT(labels.sources[0].v, WithinRel(2.5f / 4, 1e-5f));
    CHECK_THAT(labels.sources[0].ln_flux_e, WithinRel(std::log(9000.0f), 1e-5f));
    CHECK(training::make_labels({truth}, 500, 4, 2).sources.size() == 3);
}
