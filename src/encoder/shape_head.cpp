#include "bliss/encoder/shape_head.hpp"

#include "layers.hpp"

#include <torch/torch.h>

#include <cmath>
#include <numbers>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_hidden = 64;
/// Logarithms of L's diagonal lie within this of 0: standard deviations of 0.002 to 400.
constexpr double k_ln_diagonal_reach = 6;

/// Numbers of one part: its weight, its mean, L's diagonal, and L below it.
std::int64_t numbers_of_part(std::int64_t n) { return 1 + n + n * (n + 1) / 2; }

}  // namespace

ShapePosterior ShapePosterior::first(std::int64_t galaxies) const {
    const auto part = [&](const at::Tensor& t) { return t.defined() ? t.slice(0, 0, galaxies) : t; };
    return {part(log_weight), part(mean), part(precision_factor), couplings, part(context)};
}

at::Tensor ShapePosterior::log_density(const at::Tensor& latents) const {
    const AffineCouplings::Inverse at = couplings.inverse(latents, context);
    const at::Tensor off = (at.x.unsqueeze(1) - mean).unsqueeze(3);
    const at::Tensor z = torch::matmul(precision_factor.transpose(2, 3), off).squeeze(3);
    const double constant = 0.5 * static_cast<double>(latents.size(1)) * std::log(2 * std::numbers::pi);
    const at::Tensor of_part = -0.5 * (z * z).sum(2) + torch::log(torch::diagonal(precision_factor, 0, 2, 3)).sum(2) - constant;
    return torch::logsumexp(log_weight + of_part, 1) - at.log_determinant;
}

at::Tensor ShapePosterior::draw(const at::Tensor& numbers) const {
    const std::int64_t n = mean.size(2);
    const at::Tensor normals = numbers.slice(2, 1).transpose(1, 2).unsqueeze(1).expand({-1, mean.size(1), -1, -1});  // (n, P, D - 1, K)
    // L^T (w - mean) = z
    const at::Tensor of_parts = mean.unsqueeze(3) + torch::linalg_solve_triangular(precision_factor.transpose(2, 3), normals, true);
    const at::Tensor below = torch::cumsum(torch::exp(log_weight), 1).slice(1, 0, -1).unsqueeze(1);  // (n, 1, P - 1)
    const at::Tensor part = (numbers.slice(2, 0, 1) > below).sum(2);                                 // (n, K)
    const at::Tensor drawn =
        of_parts.permute({0, 3, 1, 2}).gather(2, part.view({part.size(0), -1, 1, 1}).expand({-1, -1, 1, n})).squeeze(2);
    return couplings.forward(drawn, context);
}

void write_shape_numbers(RandomStream& random, std::int64_t draws, std::int64_t latents, float* out) {
    for (std::int64_t draw = 0; draw < draws; ++draw) {
        *out++ = static_cast<float>(random.uniform());
        for (std::int64_t k = 1; k < latents; ++k) *out++ = static_cast<float>(random.normal());
    }
}

ShapeHeadImpl::ShapeHeadImpl(const EncoderConfig& config, std::int64_t numbers, std::int64_t latents)
    : shape_latents_{latents - 1}, components_{config.shape_components} {
    seen_ = register_module("seen", torch::nn::Linear(numbers, k_hidden));
    hidden_ = register_module("hidden", linear(k_hidden, k_hidden));
    out_ = register_module("out", torch::nn::Linear(k_hidden, components_ * numbers_of_part(shape_latents_)));
    couplings_ = AffineCouplings{*this, config.shape_couplings, shape_latents_, k_hidden};
    torch::nn::init::zeros_(out_->weight);
    torch::nn::init::zeros_(out_->bias);
    // The parts begin with different widths, or they would stay alike.
    const torch::NoGradGuard no_grad;
    const at::Tensor spread = 0.5 * (torch::arange(components_, torch::kFloat) - 0.5 * static_cast<double>(components_ - 1));
    out_->bias.view({components_, -1}).slice(1, 1 + shape_latents_, 1 + 2 * shape_latents_).copy_(spread.unsqueeze(1));
}

ShapePosterior ShapeHeadImpl::forward(const at::Tensor& seen) {
    const at::Tensor hidden = rectify(hidden_->forward(rectify(seen_->forward(seen))));
    const at::Tensor out = out_->forward(hidden).unflatten(1, {components_, -1});
    const std::int64_t n = shape_latents_;
    const at::Tensor diagonal = torch::exp(k_ln_diagonal_reach * torch::tanh(out.slice(2, 1 + n, 1 + 2 * n) / k_ln_diagonal_reach));
    at::Tensor factor = torch::diag_embed(diagonal);
    if (n > 1) {
        const at::Tensor below = torch::tril_indices(n, n, -1).to(out.device());
        // Against the row's diagonal, so that one number means one correlation at any width.
        const at::Tensor lower = torch::zeros({out.size(0), components_, n * n}, out.options())
                                     .index_copy(2, below[0] * n + below[1], out.slice(2, 1 + 2 * n))
                                     .view({-1, components_, n, n});
        factor = factor + diagonal.unsqueeze(3) * lower;
    }
    return {torch::log_softmax(out.select(2, 0), 1), out.slice(2, 1, 1 + n), factor, couplings_, hidden};
}

}  // namespace bliss::encoder
