#include "bliss/inference/prior_shift.hpp"

#include "bliss/core/random.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <torch/torch.h>

#include <cmath>
#include <vector>

namespace {

using namespace bliss;
using namespace bliss::inference;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

const simulator::PriorConfig k_trained;
const FieldPrior k_told = prior_above_limit(k_trained, 0.01);

/// Density of ln flux of sources above the limit, by the textbook form.
double density(const FieldPrior& prior, double ln_flux) {
    const auto pareto = [&](double alpha) {
        const double low = std::pow(k_trained.label_flux_min_e, -alpha), high = std::pow(k_trained.flux_max_e, -alpha);
        return alpha * std::exp(-alpha * ln_flux) / (low - high);
    };
    return prior.star_fraction * pareto(prior.star_alpha) + (1 - prior.star_fraction) * pareto(prior.galaxy_alpha);
}

/// One tile of one source at most, with two parts.
encoder::TilePosterior one_tile(double p, double first, double second) {
    const auto two = [](double a, double b) { return torch::tensor({a, b}).view({1, 1, 2}).to(torch::kFloat); };
    return {torch::tensor({{std::log(1 - p), std::log(p)}}).to(torch::kFloat),
            torch::log(two(0.3, 0.7)), two(0.5, 0.5), two(0.1, 0.1), two(0.5, 0.5), two(0.1, 0.1), two(first, second), two(0.15, 0.4)};
}

/// Twice the sources, other shares of types, and another law of galaxies' fluxes.
FieldPrior richer_in_stars() {
    FieldPrior out = k_told;
    out.galaxy_alpha = 1.0;
    out.star_fraction = 0.6;
    out.sources_per_tile = 2 * k_told.sources_per_tile;
    return out;
}

}  // namespace

TEST_CASE("the training's prior above the label limit counts what is labelled") {
    RandomStream random{3, StreamPurpose::catalog, 0, 0};
    double stars = 0, all = 0;
    for (int i = 0; i < 40000; ++i) {
        const simulator::Source s = simulator::draw_mark(k_trained, nullptr, random);
        if (s.flux_e < k_trained.label_flux_min_e) continue;
        all += 1;
        stars += s.is_star ? 1 : 0;
    }
    CHECK_THAT(stars / all, WithinAbs(k_told.star_fraction, 5 * 0.5 / std::sqrt(all)));
    const double ln_flux = 8.3;
    const double tensor =
        std::exp(log_flux_density(torch::tensor(ln_flux, torch::kDouble), 0.6, std::log(500.0), std::log(1e8)).item<double>());
    const double direct = 0.6 * std::exp(-0.6 * ln_flux) / (std::pow(500, -0.6) - std::pow(1e8, -0.6));
    CHECK_THAT(tensor, WithinRel(direct, 1e-12));
}

TEST_CASE("nothing moves where the prior is the one the networks were told") {
    const PriorShift shift{k_trained, k_told, k_told};
    CHECK_FALSE(shift.active());
    CHECK(shift.star(0.37, 8) == 0.37);
    CHECK(shift.largest_factor() == 1);
}

TEST_CASE("a tile's posterior under another flux law is the old one times the ratio of priors") {
    const FieldPrior wanted = richer_in_stars();
    const PriorShift shift{k_trained, k_told, wanted};
    const encoder::TilePosterior old = one_tile(0.4, 7.0, 9.0), moved = shift.applied(old);
    // The exact answer on a fine grid of ln flux.
    const auto normal = [](double x, double mean, double sd) {
        return std::exp(-0.5 * std::pow((x - mean) / sd, 2)) / (sd * std::sqrt(2 * M_PI));
    };
    double total = 0, mean = 0;
    const double step = 1e-3;
    for (double f = 6.3; f < 12; f += step) {
        const double q = 0.3 * normal(f, 7.0, 0.15) + 0.7 * normal(f, 9.0, 0.4);
        const double r = 2 * density(wanted, f) / density(k_told, f);
        total += step * q * r;
        mean += step * q * r * f;
    }
    const double p = 0.4 * total / (0.6 + 0.4 * total);
    const at::Tensor probabilities = torch::softmax(moved.count_logits, 1);
    CHECK_THAT(probabilities[0][1].item<double>(), WithinRel(p, 0.01));  // the ratio is nearly, not quite, a power law
    const double moved_mean = (moved.log_weight.exp() * moved.ln_flux_mean).sum().item<double>();
    CHECK_THAT(moved_mean, WithinAbs(mean / total, 0.01));
    CHECK_THAT(moved.log_weight.exp().sum().item<double>(), WithinRel(1.0, 1e-5));
}

TEST_CASE("each of two sources moves by the ratio at its own flux") {
    const FieldPrior wanted = richer_in_stars();
    const PriorShift shift{k_trained, k_told, wanted};
    // The slot of one source, then the two of two.
    const std::vector<double> means{7.0, 9.0, 7.6}, sds{0.15, 0.2, 0.1};
    const auto slots = [](const std::vector<double>& of) { return torch::tensor(of).view({1, 3, 1}).to(torch::kFloat); };
    const at::Tensor half = slots({0.5, 0.5, 0.5}), tenth = slots({0.1, 0.1, 0.1});
    const std::vector<double> p{0.5, 0.3, 0.2};
    const encoder::TilePosterior old{torch::log(torch::tensor({{p[0], p[1], p[2]}}).to(torch::kFloat)),
                                     slots({0, 0, 0}),
                                     half,
                                     tenth,
                                     half,
                                     tenth,
                                     slots(means),
                                     slots(sds)};
    const encoder::TilePosterior moved = shift.applied(old);
    std::vector<double> mass, mean;  // of each slot, on a fine grid of ln flux
    for (std::size_t slot = 0; slot < 3; ++slot) {
        double total = 0, first = 0;
        const double step = 1e-3;
        for (double f = means[slot] - 1; f < means[slot] + 1; f += step) {
            const double z = (f - means[slot]) / sds[slot], q = std::exp(-0.5 * z * z) / (sds[slot] * std::sqrt(2 * M_PI));
            const double r = density(wanted, f) / density(k_told, f);
            total += step * q * r;
            first += step * q * r * f;
        }
        mass.push_back(total);
        mean.push_back(first / total);
    }
    const double none = p[0], one = 2 * p[1] * mass[0], two = 4 * p[2] * mass[1] * mass[2];
    const at::Tensor said = torch::softmax(moved.count_logits, 1).flatten();
    CHECK_THAT(said[0].item<double>(), WithinRel(none / (none + one + two), 0.01));
    CHECK_THAT(said[1].item<double>(), WithinRel(one / (none + one + two), 0.01));
    CHECK_THAT(said[2].item<double>(), WithinRel(two / (none + one + two), 0.01));
    for (std::int64_t slot = 0; slot < 3; ++slot) {
        CHECK_THAT(moved.ln_flux_mean[0][slot][0].item<double>(), WithinAbs(mean[static_cast<std::size_t>(slot)], 0.005));
    }
}

TEST_CASE("a posterior without what lies below the least flux moves alike") {
    FieldPrior wanted = k_told;
    wanted.galaxy_alpha = 1.0;
    wanted.star_fraction = 0.6;
    const PriorShift shift{k_trained, k_told, wanted};
    const double low = std::log(k_trained.label_flux_min_e);
    encoder::TilePosterior old = one_tile(0.4, low - 0.2, low + 0.3);
    old.ln_flux_low = low;
    const encoder::TilePosterior moved = shift.applied(old);
    const auto upper = [](double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); };
    const auto normal = [&](double x, double mean, double sd) {
        return std::exp(-0.5 * std::pow((x - mean) / sd, 2)) / (sd * std::sqrt(2 * M_PI) * upper((low - mean) / sd));
    };
    double total = 0, first = 0;
    const double step = 1e-4;
    for (double f = low + 0.5 * step; f < low + 4; f += step) {
        const double r = density(wanted, f) / density(k_told, f), of_first = 0.3 * normal(f, low - 0.2, 0.15);
        total += step * r * (of_first + 0.7 * normal(f, low + 0.3, 0.4));
        first += step * r * of_first;
    }
    CHECK_THAT(torch::softmax(moved.count_logits, 1)[0][1].item<double>(), WithinRel(0.4 * total / (0.6 + 0.4 * total), 0.01));
    CHECK_THAT(moved.log_weight.exp()[0][0][0].item<double>(), WithinRel(first / total, 0.02));
}

TEST_CASE("types follow the odds of types at the source's flux") {
    FieldPrior wanted = k_told;
    wanted.star_fraction = 0.7;
    const PriorShift shift{k_trained, k_told, wanted};
    const double odds = (0.7 / 0.3) / (k_told.star_fraction / (1 - k_told.star_fraction));
    CHECK_THAT(shift.star(0.25, 8), WithinRel(odds * 0.25 / (0.75 + odds * 0.25), 1e-9));
    CHECK(shift.star(0, 8) == 0);
    CHECK(shift.star(1, 8) == 1);
    CHECK(shift.largest_factor() > 1);
    CHECK(shift.largest_factor() < 4);
}

TEST_CASE("the prior is found again from sources drawn from it") {
    simulator::PriorConfig field = k_trained;
    field.star_fraction = 0.5;
    field.star_alpha = 0.6;
    field.galaxy_alpha = 1.1;
    RandomStream random{4, StreamPurpose::catalog, 0, 0};
    std::vector<WeighedSource> sources;
    while (sources.size() < 20000) {
        const simulator::Source s = simulator::draw_mark(field, nullptr, random);
        if (s.flux_e >= field.label_flux_min_e) sources.push_back({1, s.is_star ? 1.0 : 0.0, std::log(s.flux_e)});
    }
    const FieldPrior truth = prior_above_limit(field, 0.02), found = estimated_prior(sources, 20000, 1e6, k_trained, k_told);
    CHECK_THAT(found.sources_per_tile, WithinRel(0.02, 1e-9));
    CHECK_THAT(found.star_fraction, WithinAbs(truth.star_fraction, 0.02));
    CHECK_THAT(found.star_alpha, WithinRel(0.6, 0.05));
    CHECK_THAT(found.galaxy_alpha, WithinRel(1.1, 0.05));
    // A field of few sources keeps the laws it had.
    const FieldPrior few = estimated_prior(std::span{sources}.first(10), 10, 1000, k_trained, k_told);
    CHECK(few.star_alpha == k_told.star_alpha);
    CHECK(few.star_fraction == k_told.star_fraction);
    CHECK_THAT(few.sources_per_tile, WithinRel(0.01, 1e-9));
}

TEST_CASE("another source rate moves the odds of n sources by the ratio to the power n") {
    FieldPrior wanted = k_told;
    wanted.sources_per_tile = 0.25 * k_told.sources_per_tile;
    encoder::TilePosterior q;
    q.count_logits = torch::tensor({{0.2f, -1.0f, -3.0f}});
    const at::Tensor p = torch::softmax(q.count_logits, 1).flatten();
    const at::Tensor moved = torch::softmax(PriorShift{k_trained, k_told, wanted}.applied(q).count_logits, 1).flatten();
    const auto odds = [](const at::Tensor& t, int n) { return (t[n] / t[0]).item<double>(); };
    CHECK_THAT(odds(moved, 1), WithinRel(0.25 * odds(p, 1), 1e-5));
    CHECK_THAT(odds(moved, 2), WithinRel(0.0625 * odds(p, 2), 1e-5));
}
