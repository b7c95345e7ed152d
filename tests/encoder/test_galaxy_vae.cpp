#include "bliss/encoder/galaxy_vae.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <numbers>

namespace {

using namespace bliss;
using namespace bliss::encoder;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

const auto k_double = torch::TensorOptions{}.dtype(torch::kDouble);

/// Weights that are not those of a fresh network: couplings do something, Gaussians are elliptical and off centre.
GalaxyDecoderNet scrambled_decoder(const GalaxyVaeConfig& config) {
    torch::manual_seed(4);
    GalaxyDecoderNet decoder{config};
    const torch::NoGradGuard no_grad;
    for (auto& parameter : decoder->parameters()) parameter.add_(0.1 * torch::randn_like(parameter));
    return decoder;
}

GaussianMixture two_gaussians(double shift) {
    const auto row = [](double a, double b) { return torch::tensor({{a, b}}, k_double); };
    return {row(0.6, 0.4), row(0.3 + shift, -0.5), row(0.1, 0.7), row(2.0, 1.0), row(0.5, -0.2), row(1.2, 1.5)};
}

/// A mixture convolved with the PSF, at a place.
double value_at(const GaussianMixture& m, const CircularMixture& psf, double x, double y) {
    double sum = 0;
    for (std::int64_t j = 0; j < m.weight.size(1); ++j) {
        const auto of = [&](const at::Tensor& t) { return t[0][j].item<double>(); };
        for (std::int64_t p = 0; p < psf.weight.size(1); ++p) {
            const double variance = psf.variance[0][p].item<double>();
            const double xx = of(m.xx) + variance, yy = of(m.yy) + variance, xy = of(m.xy), det = xx * yy - xy * xy;
            const double dx = x - of(m.x), dy = y - of(m.y);
            sum += of(m.weight) * psf.weight[0][p].item<double>() *
                   std::exp(-0.5 * (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy) / det) / (2 * std::numbers::pi * std::sqrt(det));
        }
    }
    return sum;
}

}  // namespace

TEST_CASE("the overlap of two galaxies behind a PSF is the integral of their product") {
    const CircularMixture psf{torch::tensor({{0.8, 0.2}}, k_double), torch::tensor({{1.3, 6.0}}, k_double)};
    const GaussianMixture a = two_gaussians(0), b = two_gaussians(1.1);
    double integral = 0;
    const double step = 0.25;  // the trapezoidal rule converges exponentially for sums of Gaussians
    for (double x = -20; x <= 20; x += step) {
        for (double y = -20; y <= 20; y += step) integral += value_at(a, psf, x, y) * value_at(b, psf, x, y) * step * step;
    }
    CHECK_THAT(overlap(a, b, psf.convolved_with_itself()).item<double>(), WithinRel(integral, 1e-8));
}

TEST_CASE("the decoder without LibTorch is the same function") {
    const GalaxyVaeConfig config{.latents = 6, .gaussians = 5, .width = 16, .couplings = 3};
    GalaxyDecoderNet decoder = scrambled_decoder(config);
    const simulator::GalaxyDecoder plain = decoder->exported();
    REQUIRE(plain.latents() == 6);
    const torch::NoGradGuard no_grad;
    const at::Tensor v = torch::randn({10, 6});
    const GaussianMixture m = decoder->decode(decoder->codes(v.slice(1, 1))).scaled(torch::full({10, 1}, 3.0));
    for (std::int64_t i = 0; i < 10; ++i) {
        const simulator::GalaxyLight light = plain.light({v[i].data_ptr<float>(), 6}, 3.0);
        double centre = 0, total = 0;
        for (std::int64_t j = 0; j < 5; ++j) {
            const auto& c = light[static_cast<std::size_t>(j)];
            const auto same = [&](double mine, const at::Tensor& theirs) {
                CHECK_THAT(mine, WithinAbs(theirs[i][j].item<double>(), 1e-4 * (1 + std::abs(mine))));
            };
            same(c.weight, m.weight);
            same(c.x_px, m.x);
            same(c.y_px, m.y);
            same(c.xx, m.xx);
            same(c.xy, m.xy);
            same(c.yy, m.yy);
            CHECK(c.xx * c.yy - c.xy * c.xy > 0);
            centre += c.weight * c.x_px;
            total += c.weight;
        }
        CHECK_THAT(centre, WithinAbs(0, 3e-6));  // float sums of lengths up to 6
        CHECK_THAT(total, WithinRel(1.0, 1e-6));
    }
}

TEST_CASE("couplings invert, and their density is the change of variables") {
    GalaxyDecoderNet decoder = scrambled_decoder({.latents = 4, .gaussians = 2, .width = 8, .couplings = 4});
    decoder->to(torch::kDouble);
    const torch::NoGradGuard no_grad;
    const at::Tensor z = torch::randn({1, 3}, k_double);
    const at::Tensor code = decoder->codes(z);
    CHECK_FALSE(torch::allclose(code, z));
    CHECK(torch::allclose(decoder->latents(code), z, 1e-6, 1e-6));
    // Jacobian by central differences.
    at::Tensor jacobian = torch::empty({3, 3}, k_double);
    const double h = 1e-5;
    for (std::int64_t k = 0; k < 3; ++k) {
        at::Tensor up = z.clone(), down = z.clone();
        up[0][k] += h;
        down[0][k] -= h;
        jacobian.select(1, k).copy_(((decoder->codes(up) - decoder->codes(down)) / (2 * h))[0]);
    }
    const double expected = -0.5 * (z * z).sum().item<double>() - 1.5 * std::log(2 * std::numbers::pi) -
                            std::log(std::abs(torch::linalg_det(jacobian).item<double>()));
    CHECK_THAT(decoder->log_density(code).item<double>(), WithinRel(expected, 1e-6));
}

TEST_CASE("gradients of the overlap by the decoder's codes agree with finite differences") {
    GalaxyDecoderNet decoder = scrambled_decoder({.latents = 4, .gaussians = 3, .width = 8, .couplings = 0});
    decoder->to(torch::kDouble);
    const CircularMixture psf = CircularMixture{torch::ones({1, 1}, k_double), torch::full({1, 1}, 2.0, k_double)}.convolved_with_itself();
    const GaussianMixture target = two_gaussians(0.2);
    const auto loss = [&](const at::Tensor& code) {
        const GaussianMixture m = decoder->decode(code);
        return (overlap(m, m, psf) - 2 * overlap(m, target, psf)).sum();
    };
    const at::Tensor code = torch::tensor({{0.4, -0.9, 0.2}}, k_double).set_requires_grad(true);
    loss(code).backward();
    const torch::NoGradGuard no_grad;
    const double h = 1e-5;
    for (std::int64_t k = 0; k < 3; ++k) {
        at::Tensor up = code.detach().clone(), down = code.detach().clone();
        up[0][k] += h;
        down[0][k] -= h;
        const double slope = (loss(up).item<double>() - loss(down).item<double>()) / (2 * h);
        CHECK_THAT(code.grad()[0][k].item<double>(), WithinRel(slope, 1e-5));
    }
}

TEST_CASE("a new encoder gives every stamp a moderate Normal") {
    torch::manual_seed(1);
    const GalaxyVaeConfig config{.latents = 5};
    GalaxyVaeEncoder network{config};
    const auto q = network->forward(torch::rand({3, k_galaxy_stamp_px, k_galaxy_stamp_px}) * 100, torch::zeros({3, k_condition_count + 1}));
    CHECK(q.mean.sizes() == torch::IntArrayRef({3, 4}));
    CHECK(q.sd.sizes() == torch::IntArrayRef({3, 4}));
    CHECK(q.sd.min().item<float>() > 0);
    CHECK(q.mean.isfinite().all().item<bool>());
}
