#include "bliss/encoder/galaxy_encoder.hpp"

#include "layers.hpp"

#include <torch/torch.h>

#include <cmath>
#include <numbers>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_hidden = 64;
/// Logarithms of L's diagonal lie within this of 0: standard deviations of 0.002 to 400.
constexpr double k_ln_diagonal_reach = 6;

}  // namespace

at::Tensor ShapePosterior::log_density(const at::Tensor& latents) const {
    const at::Tensor z = torch::matmul(precision_factor.transpose(1, 2), (latents - mean).unsqueeze(2)).squeeze(2);
    const double constant = 0.5 * static_cast<double>(latents.size(1)) * std::log(2 * std::numbers::pi);
    return -0.5 * (z * z).sum(1) + torch::log(torch::diagonal(precision_factor, 0, 1, 2)).sum(1) - constant;
}

at::Tensor ShapePosterior::draw(const at::Tensor& normals) const {
    // L^T (w - mean) = z
    const at::Tensor solved = torch::linalg_solve_triangular(precision_factor.transpose(1, 2), normals.transpose(1, 2), true);
    return mean.unsqueeze(1) + solved.transpose(1, 2);
}

GalaxyEncoderImpl::GalaxyEncoderImpl(const EncoderConfig& config, std::int64_t latents) : shape_latents_{latents - 1} {
    tower_ = register_module("tower", WindowTower(config, config.galaxy_width));
    hidden_ = register_module("hidden", linear(WindowTowerImpl::k_numbers, k_hidden));
    out_ = register_module("out", torch::nn::Linear(k_hidden, shape_latents_ + shape_latents_ * (shape_latents_ + 1) / 2));
    torch::nn::init::zeros_(out_->weight);
    torch::nn::init::zeros_(out_->bias);
}

ShapePosterior GalaxyEncoderImpl::forward(const SourceWindows& windows) {
    const at::Tensor tower = tower_->forward(windows);
    const c10::impl::ExcludeDispatchKeyGuard single_precision{c10::autocast_dispatch_keyset};
    const at::Tensor out = out_->forward(rectify(hidden_->forward(tower)));
    const std::int64_t n = shape_latents_;
    const at::Tensor diagonal = torch::exp(k_ln_diagonal_reach * torch::tanh(out.slice(1, n, 2 * n) / k_ln_diagonal_reach));
    at::Tensor factor = torch::diag_embed(diagonal);
    if (n > 1) {
        const at::Tensor below = torch::tril_indices(n, n, -1);
        // Against the row's diagonal, so that one number means one correlation at any width.
        const at::Tensor lower = torch::zeros({out.size(0), n * n}).index_copy(1, below[0] * n + below[1], out.slice(1, 2 * n)).view({-1, n, n});
        factor = factor + diagonal.unsqueeze(2) * lower;
    }
    return {out.slice(1, 0, n), factor};
}

}  // namespace bliss::encoder
