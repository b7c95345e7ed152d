#pragma once

#include "bliss/encoder/settings.hpp"

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <vector>

namespace bliss::encoder {

/// Parameters of the variational distribution of every tile (paper section 3.1). T_h x T_w tiles of B images.
///
/// Count: categorical over 0 ... M. For source slot m a mixture of C parts, each a product of factors: location (u, v) in the
/// tile's unit square, each a Normal truncated to [0, 1]; ln of the flux in electrons: Normal. Several parts give tails heavier
/// than a Normal's, and a flux that hangs on what the source is.
struct TilePosterior {
    at::Tensor count_logits;  ///< (B, M + 1, T_h, T_w)
    at::Tensor log_weight;    ///< (B, M, C, T_h, T_w) ln of the parts' shares, which sum to 1
    at::Tensor u_mean, u_sd;  ///< (B, M, C, T_h, T_w) along columns, in tiles
    at::Tensor v_mean, v_sd;  ///< (B, M, C, T_h, T_w) along rows, in tiles
    at::Tensor ln_flux_mean, ln_flux_sd;  ///< (B, M, C, T_h, T_w)
};

/// What the networks are told about each of B images.
struct ImageConditions {
    at::Tensor numbers;   ///< (B, k_condition_count) see `conditioning`
    at::Tensor rate;      ///< (B, 1) see `rate_conditioning`
    at::Tensor ln_noise;  ///< (B, 1, 1, 1) ln of the noise, sqrt(background): fluxes are predicted against it

    /// The one image's conditions for each of n images.
    [[nodiscard]] ImageConditions repeated(std::int64_t n) const;
};

/// Scales and shifts channels by what differs between fields; the identity when new.
class FilmImpl : public torch::nn::Module {
public:
    FilmImpl(std::int64_t conditions, std::int64_t channels);
    at::Tensor forward(const at::Tensor& x, const at::Tensor& conditions);

private:
    torch::nn::Linear hidden_{nullptr};
    torch::nn::Linear out_{nullptr};
    std::int64_t channels_;
};
TORCH_MODULE(Film);

/// The detection encoder: a tower of valid convolutions with a receptive field of exactly 52 pixels and total stride 4.
///
/// On one padded tile (52 x 52) it gives one tile's parameters; slid over a padded image it gives, for every tile, exactly
/// what it would give on that tile alone, because nothing in it looks outside the window: no padding, no statistics over
/// pixels. No normalisation layers; residual blocks start as the identity. The outermost pixels of the window are read by the
/// matched filters alone (tile::features).
///
/// The prior source rate enters the head: how sure a tile is of a faint source depends on it, what the image shows does not.
class DetectionEncoderImpl : public torch::nn::Module {
public:
    explicit DetectionEncoderImpl(const EncoderConfig& config);

    /// Raw outputs. @param x features (B, C, 4 T_h + 48, 4 T_w + 48) @return (B, (M + 1) + F M C, T_h, T_w) float,
    /// with F = 6 numbers a part, and its weight as seventh where there are several
    at::Tensor forward(const at::Tensor& x, const ImageConditions& conditions);

    /// Puts raw outputs into the ranges of the posterior's parameters.
    [[nodiscard]] TilePosterior posterior(const at::Tensor& raw, const ImageConditions& conditions) const;

    /// Computes the convolutions in bfloat16 (parameters are converted; the head stays in single precision).
    void use_bfloat16();

private:
    at::Tensor conv_relu(std::size_t layer, const at::Tensor& x);

    std::int64_t max_sources_;
    std::int64_t components_;
    std::vector<torch::nn::Conv2d> convs_;
    Film film_half_{nullptr};
    Film film_quarter_{nullptr};
    Film film_head_{nullptr};
    torch::nn::Conv2d head_hidden_{nullptr};
    torch::nn::Conv2d head_out_{nullptr};
};
TORCH_MODULE(DetectionEncoder);

}  // namespace bliss::encoder
