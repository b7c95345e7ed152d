#include "bliss/training/losses.hpp"

#include "bliss/training/labels.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <torch/torch.h>

#include <cmath>
#include <initializer_list>
#include <span>

namespace {

using namespace bliss;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

/// A posterior of one image of 2 x 2 tiles with at most M sources; parameters differ from tile to tile and slot to slot.
encoder::TilePosterior some_posterior(std::int64_t max_sources, std::int64_t parts = 1) {
    const std::int64_t slots = encoder::slot_count(max_sources);
    torch::manual_seed(2);
    encoder::TilePosterior q;
    q.count_logits = torch::randn({4, max_sources + 1});
    q.log_weight = torch::log_softmax(torch::randn({4, slots, parts}), 2);
    q.u_mean = torch::rand({4, slots, parts});
    q.v_mean = torch::rand({4, slots, parts});
    q.u_sd = 0.1 + torch::rand({4, slots, parts});
    q.v_sd = 0.1 + torch::rand({4, slots, parts});
    q.ln_flux_mean = 7 + torch::randn({4, slots, parts});
    q.ln_flux_sd = 0.2 + torch::rand({4, slots, parts});
    return q;
}

double phi(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

/// -ln of Normal(x; mean, sd), and of the same truncated to the unit interval: the textbook forms.
double normal_nll(double x, double mean, double sd) { return 0.5 * std::pow((x - mean) / sd, 2) + std::log(sd) + 0.5 * std::log(2 * M_PI); }
double truncated_nll(double x, double mean, double sd) {
    return normal_nll(x, mean, sd) + std::log(phi((1 - mean) / sd) - phi((0 - mean) / sd));
}

double source_nll(const encoder::TilePosterior& q, const training::LabelledSource& s, std::int64_t slot, std::int64_t part = 0) {
    const auto p = [&](const at::Tensor& t) { return t[s.tile][slot][part].item<double>(); };
    return truncated_nll(s.u, p(q.u_mean), p(q.u_sd)) + truncated_nll(s.v, p(q.v_mean), p(q.v_sd)) +
           normal_nll(s.ln_flux_e, p(q.ln_flux_mean), p(q.ln_flux_sd));
}

/// Compares gradients that were taken with finite differences. @param every which of a parameter's numbers are looked at
template <class Loss>
void check_gradients(std::span<at::Tensor* const> parameters, const Loss& loss, std::int64_t every) {
    const torch::NoGradGuard no_grad;
    constexpr double step = 1e-5;
    for (at::Tensor* const parameter : parameters) {
        at::Tensor values = parameter->view(-1);
        const at::Tensor gradient = parameter->grad().reshape(-1);
        CHECK(gradient.abs().max().item<double>() > 0);
        for (std::int64_t k = 0; k < values.numel(); k += every) {
            const auto moved = [&](double by) {
                values[k] += by;
                const double at = loss();
                values[k] -= by;
                return at;
            };
            const double slope = (moved(step) - moved(-step)) / (2 * step);
            CHECK_THAT(gradient[k].item<double>(), WithinRel(slope, 1e-3) || WithinAbs(slope, 1e-4));
        }
    }
}

training::LabelledSource source(std::int64_t row, std::int64_t col, std::int64_t slot, float u, float v, float ln_flux) {
    return {.tile = 2 * row + col, .slot = slot, .u = u, .v = v, .ln_flux_e = ln_flux, .is_star = true};
}

}  // namespace

TEST_CASE("the count loss is the cross-entropy over tiles") {
    const encoder::TilePosterior q = some_posterior(1);
    training::Labels labels{torch::zeros({4}, torch::kLong), {source(0, 1, 0, 0.2f, 0.7f, 7.5f)}, {}, {}};
    labels.count[1] = 1;
    double expected = 0;
    for (std::int64_t row = 0; row < 2; ++row) {
        for (std::int64_t col = 0; col < 2; ++col) {
            const at::Tensor logits = q.count_logits[2 * row + col];
            const double a = logits[0].item<double>(), b = logits[1].item<double>();
            expected -= (row == 0 && col == 1 ? b : a) - std::log(std::exp(a) + std::exp(b));
        }
    }
    CHECK_THAT(training::detection_loss(q, labels).count.item<double>(), WithinRel(expected, 1e-5));
}

TEST_CASE("one source in a tile costs its exact negative log density") {
    const encoder::TilePosterior q = some_posterior(1);
    training::Labels labels{
        torch::zeros({4}, torch::kLong), {source(0, 1, 0, 0.2f, 0.7f, 7.5f), source(1, 0, 0, 0.99f, 0.01f, 6.4f)}, {}, {}};
    labels.count[1] = 1;
    labels.count[2] = 1;
    const training::DetectionLoss loss = training::detection_loss(q, labels);
    CHECK_THAT(loss.location.item<double>() + loss.flux.item<double>(),
               WithinRel(source_nll(q, labels.sources[0], 0) + source_nll(q, labels.sources[1], 0), 1e-4));
}

TEST_CASE("no source is fainter than the least flux: the density of the others is higher") {
    encoder::TilePosterior q = some_posterior(1);
    training::Labels labels;
    labels.count = torch::tensor({0, 1, 0, 0}, torch::kLong);
    labels.sources = {source(0, 1, 0, 0.3f, 0.8f, 7.2f)};
    const auto loss = [&] { return training::detection_loss(q, labels).flux.item<double>(); };
    const double whole = loss();
    q.ln_flux_low = 6.5;
    const double mean = q.ln_flux_mean[1][0][0].item<double>(), sd = q.ln_flux_sd[1][0][0].item<double>();
    CHECK_THAT(loss(), WithinAbs(whole + std::log(phi((mean - 6.5) / sd)), 1e-4));
}

TEST_CASE("several parts are a mixture of their joint densities") {
    const encoder::TilePosterior q = some_posterior(1, 3);
    const auto s = source(0, 1, 0, 0.2f, 0.7f, 7.5f);
    training::Labels labels{torch::zeros({4}, torch::kLong), {s}, {}, {}};
    labels.count[1] = 1;
    double density = 0;
    for (std::int64_t part = 0; part < 3; ++part) {
        density += std::exp(q.log_weight[1][0][part].item<double>() - source_nll(q, s, 0, part));
    }
    const training::DetectionLoss loss = training::detection_loss(q, labels);
    CHECK_THAT(loss.location.item<double>() + loss.flux.item<double>(), WithinRel(-std::log(density), 1e-4));
}

TEST_CASE("two sources in a tile are a set: the mean over orderings, whatever their order") {
    const encoder::TilePosterior q = some_posterior(2);
    const auto a = source(1, 1, 0, 0.2f, 0.7f, 7.5f), b = source(1, 1, 1, 0.6f, 0.1f, 6.9f);
    at::Tensor count = torch::zeros({4}, torch::kLong);
    count[3] = 2;
    // The two slots of count 2 come after the one of count 1.
    const double straight = source_nll(q, a, 1) + source_nll(q, b, 2), crossed = source_nll(q, a, 2) + source_nll(q, b, 1);
    const double expected = -std::log(0.5 * (std::exp(-straight) + std::exp(-crossed)));
    const training::DetectionLoss one = training::detection_loss(q, {count, {a, b}, {}, {}});
    const training::DetectionLoss other = training::detection_loss(q, {count, {b, a}, {}, {}});
    CHECK_THAT(one.location.item<double>(), WithinRel(expected, 1e-4));
    CHECK_THAT(other.location.item<double>(), WithinRel(expected, 1e-4));
}

TEST_CASE("gradients of the losses agree with finite differences, for one, two and three sources in a tile") {
    encoder::TilePosterior q = some_posterior(3, 2);
    at::Tensor* const parameters[] = {&q.count_logits, &q.log_weight, &q.u_mean,       &q.u_sd,
                                      &q.v_mean,       &q.v_sd,       &q.ln_flux_mean, &q.ln_flux_sd};
    for (at::Tensor* const parameter : parameters) *parameter = parameter->to(torch::kDouble).detach().set_requires_grad(true);
    training::Labels labels{torch::tensor({0, 1, 2, 3}, torch::kLong),
                            {source(0, 1, 0, 0.2f, 0.7f, 7.5f), source(1, 0, 0, 0.5f, 0.1f, 7.1f), source(1, 0, 1, 0.9f, 0.4f, 6.3f),
                             source(1, 1, 0, 0.3f, 0.3f, 8.0f), source(1, 1, 1, 0.6f, 0.8f, 7.0f), source(1, 1, 2, 0.1f, 0.5f, 6.4f)},
                            {},
                            {}};
    const auto loss = [&] {
        const training::DetectionLoss of = training::detection_loss(q, labels);
        return of.count + of.location + of.flux;
    };
    loss().backward();
    check_gradients(parameters, [&] { return loss().item<double>(); }, 3);
}

TEST_CASE("the type loss is the cross-entropy of each source, times how many it stands for") {
    const at::Tensor logits = torch::tensor({0.3, -1.2, 2.0}, torch::kDouble).set_requires_grad(true);
    const at::Tensor loss =
        training::type_loss(logits, torch::tensor({1.0, 0.0, 0.0}, torch::kDouble), torch::tensor({1.0, 2.5, 1.0}, torch::kDouble));
    CHECK_THAT(loss.item<double>(),
               WithinRel(std::log1p(std::exp(-0.3)) + 2.5 * std::log1p(std::exp(-1.2)) + std::log1p(std::exp(2.0)), 1e-9));
    loss.backward();
    // p - y, times the weight.
    const auto p = [](double logit) { return 1 / (1 + std::exp(-logit)); };
    const at::Tensor expected = torch::tensor({p(0.3) - 1, 2.5 * p(-1.2), p(2.0)}, torch::kDouble);
    CHECK(torch::allclose(logits.grad(), expected, 1e-9));
}

TEST_CASE("the shape loss is -ln q of galaxies alone, and its gradient that of finite differences") {
    torch::manual_seed(5);
    const auto numbers = [](std::initializer_list<std::int64_t> shape) { return torch::randn(shape, torch::kDouble); };
    encoder::ShapePosterior q{torch::log_softmax(numbers({3, 2}), 1), numbers({3, 2, 2}),
                              torch::tril(0.3 * numbers({3, 2, 2, 2})) + torch::eye(2, torch::kDouble)};
    at::Tensor* const parameters[] = {&q.log_weight, &q.mean, &q.precision_factor};
    for (at::Tensor* const parameter : parameters) *parameter = parameter->detach().set_requires_grad(true);
    const at::Tensor latents = numbers({3, 2}), is_star = torch::tensor({0.0, 1.0, 0.0}, torch::kDouble),
                     weight = torch::tensor({1.0, 4.0, 2.5}, torch::kDouble);
    const auto loss = [&] { return training::shape_loss(q, latents, is_star, weight); };
    // The textbook density of a Normal of inverse covariance L L^T.
    double expected = 0;
    for (const std::int64_t k : {0, 2}) {
        double density = 0;
        for (std::int64_t part = 0; part < 2; ++part) {
            const at::Tensor l = q.precision_factor[k][part], off = latents[k] - q.mean[k][part];
            const double quadratic = off.matmul(l.matmul(l.t())).dot(off).item<double>(),
                         determinant = (l[0][0] * l[1][1]).abs().item<double>();
            density += std::exp(q.log_weight[k][part].item<double>()) * determinant * std::exp(-0.5 * quadratic) / (2 * M_PI);
        }
        expected -= (k == 0 ? 1 : 2.5) * std::log(density);
    }
    CHECK_THAT(loss().item<double>(), WithinRel(expected, 1e-9));
    loss().backward();
    check_gradients(parameters, [&] { return loss().item<double>(); }, 1);
}

TEST_CASE("the gradient of a flux above the least is that of finite differences") {
    encoder::TilePosterior q = some_posterior(1, 2);
    q.ln_flux_low = 6.5;
    at::Tensor* const parameters[] = {&q.log_weight, &q.ln_flux_mean, &q.ln_flux_sd};
    for (at::Tensor* const parameter : parameters) *parameter = parameter->to(torch::kDouble).detach().set_requires_grad(true);
    training::Labels labels{
        torch::tensor({0, 1, 1, 0}, torch::kLong), {source(0, 1, 0, 0.2f, 0.7f, 6.6f), source(1, 0, 0, 0.5f, 0.1f, 7.1f)}, {}, {}};
    const auto loss = [&] { return training::detection_loss(q, labels).flux; };
    loss().backward();
    check_gradients(parameters, [&] { return loss().item<double>(); }, 1);
}

TEST_CASE("labels: the brightest sources above the limit, in the tile their centre is in") {
    const survey::Psf psf = survey::Psf::from_fwhm(3);
    simulator::ImageTruth truth{{0.01, 900, 1e5, psf}, {}};
    const auto add = [&](double x, double y, double flux) { truth.sources.push_back({x, y, true, flux}); };
    add(24 + 5.0, 24 + 2.0, 9000);   // tile row 0, column 1
    add(24 + 6.0, 24 + 1.0, 5000);   // the same tile, fainter
    add(24 + 7.49, 24 + 7.6, 800);   // tile row 2, column 1
    add(20.0, 40.0, 700);            // in the padding
    add(24 + 1.0, 24 + 1.0, 400);    // below the limit
    training::LabelSettings settings{.label_flux_min_e = 500, .tiles_per_side = 4, .tile_px = 4, .max_sources = 1};
    const training::Labels labels = training::make_labels({truth}, settings);
    REQUIRE(labels.sources.size() == 2);
    CHECK(labels.count.sum().item<std::int64_t>() == 2);
    CHECK(labels.count[1].item<std::int64_t>() == 1);
    CHECK(labels.count[4 * 2 + 1].item<std::int64_t>() == 1);
    CHECK(labels.sources[1].tile == 9);
    CHECK_THAT(labels.sources[0].u, WithinRel(1.5f / 4, 1e-5f));
    CHECK_THAT(labels.sources[0].v, WithinRel(2.5f / 4, 1e-5f));
    CHECK_THAT(labels.sources[0].ln_flux_e, WithinRel(std::log(9000.0f), 1e-5f));
    settings.max_sources = 2;
    const training::Labels two = training::make_labels({truth}, settings);
    CHECK(two.sources.size() == 3);
    CHECK(two.count[1].item<std::int64_t>() == 2);
    // Neighbours are told both, against the noise of the image.
    REQUIRE(two.drawn.size() == 1);
    REQUIRE(two.drawn[0].count(0, 1) == 2);
    CHECK_THAT(two.drawn[0].sources(0, 1)[0].ln_flux_above_noise, WithinRel(std::log(9000.0f) - 0.5f * std::log(900.0f), 1e-5f));
    const at::Tensor contexts = training::contexts(two, 1, 2);
    REQUIRE(contexts.sizes() == torch::IntArrayRef({1, 16, encoder::context_length(1, 2)}));
    std::vector<float> expected(static_cast<std::size_t>(encoder::context_length(1, 2)));
    for (std::int64_t tile = 0; tile < 16; ++tile) {
        encoder::write_context(two.drawn[0], tile / 4, tile % 4, 1, 2, expected.data());
        CHECK(std::equal(expected.begin(), expected.end(), contexts[0][tile].data_ptr<float>()));
    }
    // Tiles of half the side part the sources of the first one.
    settings = {.label_flux_min_e = 500, .tiles_per_side = 8, .tile_px = 2, .max_sources = 1};
    const training::Labels small = training::make_labels({truth}, settings);
    CHECK(small.sources.size() == 3);
    CHECK(small.sources[0].tile == 8 * 1 + 2);
    CHECK(small.sources[1].tile == 8 * 0 + 3);
}

TEST_CASE("labels hold the shape latents of learnt galaxies") {
    simulator::ImageTruth truth{{0.01, 900, 1e5, survey::Psf::from_fwhm(3)}, {}};
    truth.sources.push_back({.x_px = 30, .y_px = 30, .is_star = false, .flux_e = 9000, .latents = {0.5f, 1.5f, -2.5f}});
    truth.sources.push_back({.x_px = 40, .y_px = 30, .is_star = true, .flux_e = 8000});
    const training::Labels labels =
        training::make_labels({truth}, {.label_flux_min_e = 500, .tiles_per_side = 8, .tile_px = 4, .max_sources = 1, .latents = 3});
    REQUIRE(labels.shape_latents.sizes() == torch::IntArrayRef({2, 2}));
    CHECK(torch::equal(labels.shape_latents, torch::tensor({{1.5f, -2.5f}, {0.0f, 0.0f}})));
    // Also where there happen to be only stars.
    truth.sources.erase(truth.sources.begin());
    const training::Labels stars =
        training::make_labels({truth}, {.label_flux_min_e = 500, .tiles_per_side = 8, .tile_px = 4, .max_sources = 1, .latents = 3});
    CHECK(torch::equal(stars.shape_latents, torch::zeros({1, 2})));
}
