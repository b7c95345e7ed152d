#include "bliss/encoder/source_encoder.hpp"
#include "bliss/encoder/source_windows.hpp"
#include "bliss/tile/features.hpp"

#include <torch/torch.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>
#include <numbers>
#include <tuple>

namespace {

using namespace bliss;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

constexpr std::int64_t k_channels = tile::feature_count(2);
constexpr double k_scale = 2;

/// Two windows about stars: exactly centred, and off the centre of its pixel.
encoder::SourceWindows two_windows(const survey::Psf& psf, double ln_flux_above_noise) {
    encoder::SourceWindows windows;
    windows.features = torch::zeros({2, k_channels, 52, 52});
    windows.features.select(1, k_channels - 1).fill_(1);  // all pixels are valid
    windows.given = torch::empty({2, encoder::k_given_count});
    const encoder::GivenSource sources[] = {{.x_px = 100, .y_px = 50, .ln_flux_above_noise = ln_flux_above_noise},
                                            {.x_px = 100.4, .y_px = 49.7, .ln_flux_above_noise = ln_flux_above_noise}};
    for (std::int64_t k = 0; k < 2; ++k) {
        const auto numbers = encoder::given_numbers(sources[k]);
        for (std::int64_t i = 0; i < encoder::k_given_count; ++i) windows.given[k][i] = numbers[static_cast<std::size_t>(i)];
    }
    windows.conditions = torch::zeros({2, encoder::k_condition_count});
    windows.psf_profiles = torch::tensor(encoder::psf_profile(psf)).unsqueeze(0);
    windows.psf_index = torch::zeros({2}, torch::kLong);
    return windows;
}

}  // namespace

TEST_CASE("the star channels are the PSF at the exact place, and what a star of the given flux leaves") {
    const survey::Psf psf = survey::Psf::from_fwhm(3.5);
    const double ln_flux = 5;
    encoder::SourceWindows windows = two_windows(psf, ln_flux);
    // The image holds that very star: nothing is left. Beside it one pixel has 7 more, one is masked.
    for (const auto& [window, x, y] : {std::tuple{0, 26.0, 26.0}, {1, 26.4, 25.7}}) {
        for (std::int64_t row = 0; row < 52; ++row) {
            for (std::int64_t col = 0; col < 52; ++col) {
                const double signal = std::exp(ln_flux) * psf.value(std::hypot(static_cast<double>(col) - x, static_cast<double>(row) - y));
                windows.features[window][0][row][col] = std::asinh((signal + (row == 10 && col == 12 ? 7 : 0)) / k_scale);
            }
        }
    }
    windows.features[0][k_channels - 1][40][40] = 0;
    encoder::add_star_channels(windows, k_scale);
    REQUIRE(windows.star.sizes() == torch::IntArrayRef({2, 2, 52, 52}));
    for (const auto& [window, x, y] : {std::tuple{0, 26.0, 26.0}, {1, 26.4, 25.7}}) {
        for (std::int64_t row = 22; row <= 30; ++row) {
            for (std::int64_t col = 22; col <= 30; ++col) {
                const double radius = std::hypot(static_cast<double>(col) - x, static_cast<double>(row) - y);
                const double expected = std::log(psf.value(radius) / psf.value(0)) / 4;
                CHECK_THAT(windows.star[window][0][row][col].item<double>(), WithinAbs(std::max(-4.0, expected), 2e-3));
                // The profile is read between points a quarter of a pixel apart.
                CHECK_THAT(windows.star[window][1][row][col].item<double>(), WithinAbs(0, 0.02));
            }
        }
        CHECK_THAT(windows.star[window][1][10][12].item<double>(), WithinAbs(std::asinh(7 / k_scale), 1e-3));
    }
    CHECK(windows.star[0][1][40][40].item<float>() == 0);
    const at::Tensor one_by_one = windows.star;
    encoder::add_star_channels_by_tensors(windows, k_scale);
    // asinh of a difference of numbers of 10^2, which float rounds in other places.
    CHECK(torch::allclose(windows.star, one_by_one, 1e-4, 1e-4));
}

TEST_CASE("what is given is of order one, and 0 errors mean a draw") {
    const auto exact = encoder::given_numbers({.x_px = 10.25, .y_px = 7.6, .ln_flux_above_noise = 6});
    CHECK_THAT(exact[0], WithinAbs(0.25, 1e-6));
    CHECK_THAT(exact[1], WithinAbs(-0.4, 1e-6));
    CHECK((exact[2] == 0 && exact[3] == 0 && exact[5] == 0));
    CHECK_THAT(exact[4], WithinAbs(1, 1e-6));
    const auto unsure = encoder::given_numbers({.x_px = 10, .y_px = 7, .x_err_px = 0.1, .y_err_px = 2, .ln_flux_err = 0.5});
    CHECK_THAT(unsure[2], WithinAbs(std::asinh(1.0), 1e-6));
    CHECK(unsure[3] > 3);
    CHECK(unsure[5] > 2);
}

TEST_CASE("the encoder of single sources answers by place, flux and their errors") {
    torch::manual_seed(5);
    const encoder::EncoderConfig config{.shape_components = 2, .source_width = 4};
    encoder::SourceEncoder network{config, 6};
    encoder::SourceWindows windows = two_windows(survey::Psf::from_fwhm(3.5), 6);
    encoder::add_star_channels(windows, k_scale);
    const encoder::SourcePosterior first_answer = network->forward(windows);
    REQUIRE(first_answer.star_logits.sizes() == torch::IntArrayRef({2}));
    CHECK(first_answer.star_logits[0].item<float>() != first_answer.star_logits[1].item<float>());
    CHECK_FALSE(encoder::SourceEncoder{config, 0}->forward(windows).shape);  // types alone

    REQUIRE(first_answer.shape);
    const encoder::ShapePosterior& fresh = *first_answer.shape;
    REQUIRE(fresh.mean.sizes() == torch::IntArrayRef({2, 2, 5}));
    CHECK(fresh.mean.abs().max().item<float>() == 0);  // the prior
    CHECK(torch::allclose(torch::exp(fresh.log_weight), torch::full({2, 2}, 0.5)));
    const at::Tensor widths = torch::exp(torch::tensor({-0.25f, 0.25f})).view({1, 2, 1, 1});
    CHECK(torch::allclose(fresh.precision_factor, widths * torch::eye(5).expand({2, 2, 5, 5}), 1e-3));
    const torch::NoGradGuard no_grad;
    for (auto& parameter : network->parameters()) parameter.add_(0.1 * torch::randn_like(parameter));
    const encoder::ShapePosterior q = *network->forward(windows).shape;
    CHECK_FALSE(torch::allclose(q.mean[0][0], q.mean[1][0]));
    CHECK((torch::diagonal(q.precision_factor, 0, 2, 3) > 0).all().item<bool>());
    CHECK(torch::triu(q.precision_factor, 1).abs().max().item<float>() == 0);
    CHECK(torch::tril(q.precision_factor, -1).abs().max().item<float>() > 0);
}

TEST_CASE("shapes may have convolutions of their own") {
    const encoder::EncoderConfig shared{.source_width = 4};
    encoder::EncoderConfig apart = shared;
    apart.shape_width = 8;
    const auto towers_of = [](const encoder::EncoderConfig& config, std::int64_t latents) {
        encoder::SourceEncoder network{config, latents};
        std::size_t towers = 0;
        for (const auto& item : network->named_parameters()) towers += item.key().ends_with("tower.conv0.weight") ? 1 : 0;
        return towers;
    };
    CHECK(towers_of(shared, 6) == 1);
    CHECK(towers_of(apart, 6) == 2);
    CHECK(towers_of(apart, 0) == 1);  // no shapes
    torch::manual_seed(8);
    const torch::NoGradGuard no_grad;
    encoder::SourceEncoder network{apart, 6};
    encoder::SourceWindows windows = two_windows(survey::Psf::from_fwhm(3.5), 6);
    encoder::add_star_channels(windows, k_scale);
    for (auto& parameter : network->parameters()) parameter.add_(0.1 * torch::randn_like(parameter));
    const encoder::SourcePosterior before = network->forward(windows);
    network->named_parameters()["shape_tower.conv0.weight"].mul_(2);
    const encoder::SourcePosterior after = network->forward(windows);
    CHECK(torch::equal(after.star_logits, before.star_logits));
    CHECK_FALSE(torch::equal(after.shape->mean, before.shape->mean));
}

TEST_CASE("the density of shapes is that of Normals with their covariances, and draws follow it") {
    torch::manual_seed(6);
    const auto doubles = torch::TensorOptions{}.dtype(torch::kDouble);
    const std::int64_t n = 4, parts = 2;
    at::Tensor factor = torch::tril(torch::randn({1, parts, n, n}, doubles));
    factor.diagonal(0, 2, 3).abs_().add_(0.5);
    const at::Tensor log_weight = torch::log(torch::tensor({{0.3, 0.7}}, doubles));
    const encoder::ShapePosterior q{log_weight, torch::randn({1, parts, n}, doubles), factor};
    const at::Tensor at = torch::randn({1, n}, doubles);
    double expected = 0;
    at::Tensor mean = torch::zeros({n}, doubles), second = torch::zeros({n, n}, doubles);
    for (std::int64_t p = 0; p < parts; ++p) {
        const at::Tensor covariance = torch::linalg_inv(torch::matmul(factor[0][p], factor[0][p].t()));
        const at::Tensor off = (at[0] - q.mean[0][p]).view({n, 1});
        const double share = std::exp(log_weight[0][p].item<double>());
        expected += share * std::exp(-0.5 * torch::matmul(off.t(), torch::linalg_solve(covariance, off)).item<double>()) /
                    std::sqrt(torch::linalg_det(2 * std::numbers::pi * covariance).item<double>());
        mean += share * q.mean[0][p];
        second += share * (covariance + torch::outer(q.mean[0][p], q.mean[0][p]));
    }
    CHECK_THAT(q.log_density(at).item<double>(), WithinRel(std::log(expected), 1e-9));

    const std::int64_t draws = 40000;
    const at::Tensor drawn = q.draw(torch::cat({torch::rand({1, draws, 1}, doubles), torch::randn({1, draws, n}, doubles)}, 2))[0];
    const at::Tensor covariance = second - torch::outer(mean, mean), variance = torch::diagonal(covariance);
    const at::Tensor centred = drawn - mean;
    // Five standard errors, from the sample itself.
    CHECK((centred.mean(0).abs() < 5 * torch::sqrt(variance / static_cast<double>(draws))).all().item<bool>());
    const at::Tensor sample = torch::matmul(centred.t(), centred) / static_cast<double>(draws);
    const at::Tensor products = centred.unsqueeze(1) * centred.unsqueeze(2);
    const at::Tensor tolerance = 5 * products.std(0) / std::sqrt(static_cast<double>(draws));
    CHECK(((sample - covariance).abs() < tolerance).all().item<bool>());

    // The gradient by the parameters, against finite differences.
    at::Tensor weights = log_weight.clone().set_requires_grad(true), l = factor.clone().set_requires_grad(true);
    encoder::ShapePosterior{weights, q.mean, l}.log_density(at).backward();
    const auto slope = [&](const at::Tensor& of, const auto& density, std::initializer_list<at::indexing::TensorIndex> where) {
        const torch::NoGradGuard no_grad;
        const auto moved = [&](double step) {
            at::Tensor copy = of.clone();
            copy.index(where).add_(step);
            return density(copy).log_density(at).template item<double>();
        };
        return (moved(1e-6) - moved(-1e-6)) / 2e-6;
    };
    const auto by_factor = [&](const at::Tensor& f) { return encoder::ShapePosterior{log_weight, q.mean, f}; };
    const auto by_weight = [&](const at::Tensor& w) { return encoder::ShapePosterior{w, q.mean, factor}; };
    const auto agrees = [](const at::Tensor& gradient, double by_steps) {
        CHECK_THAT(gradient.item<double>(), WithinRel(by_steps, 1e-4) || WithinAbs(by_steps, 1e-7));
    };
    agrees(l.grad()[0][0][2][1], slope(factor, by_factor, {0, 0, 2, 1}));
    agrees(l.grad()[0][1][3][3], slope(factor, by_factor, {0, 1, 3, 3}));
    agrees(weights.grad()[0][1], slope(log_weight, by_weight, {0, 1}));
}

TEST_CASE("couplings bend the density of shapes: it is the mixture's by the change of variables, and draws follow") {
    torch::manual_seed(8);
    const auto doubles = torch::TensorOptions{}.dtype(torch::kDouble);
    const std::int64_t n = 3, told = 2;
    torch::nn::Module parent;
    const encoder::AffineCouplings couplings{parent, 3, n, told};
    const at::Tensor factor = torch::diag_embed(torch::tensor({{{1.5, 0.8, 2.0}}}, doubles));
    const at::Tensor context = torch::randn({1, told}, doubles), at = torch::randn({1, n}, doubles);
    const encoder::ShapePosterior flat{torch::zeros({1, 1}, doubles), 0.3 * torch::randn({1, 1, n}, doubles), factor};
    encoder::ShapePosterior bent = flat;
    bent.couplings = couplings;
    bent.context = context;
    {
        const torch::NoGradGuard no_grad;
        parent.to(torch::kDouble);
        for (const encoder::AffineCouplings::Layer& layer : couplings.layers())
            at::Tensor{layer.moved}.set_data(layer.moved.to(torch::kDouble));
        CHECK_THAT(bent.log_density(at).item<double>(), WithinRel(flat.log_density(at).item<double>(), 1e-12));  // new ones bend nothing
        for (auto& parameter : parent.parameters()) parameter.add_(0.3 * torch::randn_like(parameter));
    }
    const at::Tensor base = couplings.inverse(at, context).x;
    CHECK(torch::allclose(couplings.forward(base, context), at, 1e-10, 1e-10));
    CHECK_FALSE(torch::allclose(couplings.forward(base, -context), at, 1e-3, 1e-3));
    at::Tensor jacobian = torch::empty({n, n}, doubles);
    for (std::int64_t k = 0; k < n; ++k) {
        const auto moved = [&](double step) {
            at::Tensor copy = base.detach().clone();
            copy[0][k] += step;
            return couplings.forward(copy, context).detach();
        };
        jacobian.select(1, k).copy_(((moved(1e-6) - moved(-1e-6)) / 2e-6)[0]);
    }
    const double expected = flat.log_density(base).item<double>() - torch::log(torch::linalg_det(jacobian).abs()).item<double>();
    CHECK_THAT(bent.log_density(at).item<double>(), WithinRel(expected, 1e-6));
    const at::Tensor numbers = torch::cat({torch::rand({1, 5, 1}, doubles), torch::randn({1, 5, n}, doubles)}, 2);
    CHECK(torch::allclose(bent.draw(numbers)[0], couplings.forward(flat.draw(numbers)[0], context.expand({5, -1})), 1e-10, 1e-10));
    // The gradient by a parameter, against finite differences.
    at::Tensor weight = couplings.layers()[1].out->weight;
    bent.log_density(at).backward();
    const double gradient = weight.grad()[1][4].item<double>();
    const auto at_step = [&](double step) {
        const torch::NoGradGuard no_grad;
        weight[1][4] += step;
        const double value = bent.log_density(at).item<double>();
        weight[1][4] -= step;
        return value;
    };
    CHECK_THAT(gradient, WithinRel((at_step(1e-6) - at_step(-1e-6)) / 2e-6, 1e-4));
    CHECK(std::abs(gradient) > 1e-4);
}
