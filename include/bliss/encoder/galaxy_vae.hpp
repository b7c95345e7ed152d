#pragma once

#include "bliss/core/config.hpp"
#include "bliss/encoder/affine_couplings.hpp"
#include "bliss/encoder/film.hpp"
#include "bliss/encoder/gaussian_mixture.hpp"
#include "bliss/encoder/settings.hpp"
#include "bliss/simulator/galaxy_decoder.hpp"

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <vector>

namespace bliss::encoder {

/// Shape of the galaxy VAE's networks (paper section 3.2). Everything here is stored in the model file.
struct GalaxyVaeConfig {
    std::int64_t latents = 8;       ///< D of equation (5): one of the flux, the others of the shape
    std::int64_t gaussians = 8;     ///< J, Gaussians of a decoded galaxy
    std::int64_t width = 64;        ///< hidden numbers of the decoder
    std::int64_t couplings = 6;     ///< affine couplings that take Normal numbers to the codes that galaxies have
};

void describe(ConfigVisitor& visitor, GalaxyVaeConfig& config);

/// Decoder g_theta: shape latents w = v[1 ... D - 1] ~ Normal(0, I) to a mixture of Gaussians in units of the galaxy's size unit, of
/// total flux 1 and with its centroid at 0. simulator::GalaxyDecoder is the same function without LibTorch.
class GalaxyDecoderNetImpl : public torch::nn::Module {
public:
    explicit GalaxyDecoderNetImpl(const GalaxyVaeConfig& config);

    /// Codes of latents: the couplings alone. @param latents (B, D - 1) @return (B, D - 1)
    at::Tensor codes(const at::Tensor& latents);

    /// ln density of codes whose latents are Normal(0, I). @param codes (B, D - 1) @return (B)
    at::Tensor log_density(const at::Tensor& codes);

    /// Latents of codes: the inverse of `codes`.
    at::Tensor latents(const at::Tensor& codes);

    /// @param codes (B, D - 1)
    GaussianMixture decode(const at::Tensor& codes);

    [[nodiscard]] simulator::GalaxyDecoder exported() const;

private:
    AffineCouplings couplings_;
    std::vector<torch::nn::Linear> layers_;
    std::int64_t gaussians_;
};
TORCH_MODULE(GalaxyDecoderNet);

/// Side of the stamps the VAE's encoder reads, pixels.
inline constexpr std::int64_t k_galaxy_stamp_px = 53;

/// The VAE's encoder q(code | stamp): Normal, of a single galaxy at the centre of a stamp without noise.
class GalaxyVaeEncoderImpl : public torch::nn::Module {
public:
    explicit GalaxyVaeEncoderImpl(const GalaxyVaeConfig& config);

    struct Normal {
        at::Tensor mean, sd;   ///< (B, D - 1)
    };

    /// @param stamps (B, 53, 53) in units of the noise @param conditions (B, k_condition_count + 1): PSF and sky, and ln of the size unit
    /// in pixels
    Normal forward(const at::Tensor& stamps, const at::Tensor& conditions);

private:
    std::vector<torch::nn::Conv2d> convs_;
    Film film_{nullptr};
    torch::nn::Linear hidden_{nullptr};
    torch::nn::Linear out_{nullptr};
};
TORCH_MODULE(GalaxyVaeEncoder);

}  // namespace bliss::encoder
