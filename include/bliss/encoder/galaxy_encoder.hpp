#pragma once

#include "bliss/encoder/window_tower.hpp"

namespace bliss::encoder {

/// q of the shape latents w = v[1 ... D - 1] of n galaxies: a Normal of any covariance, by the lower Cholesky factor L of its inverse.
struct ShapePosterior {
    at::Tensor mean;              ///< (n, D - 1)
    at::Tensor precision_factor;  ///< (n, D - 1, D - 1) L, positive on the diagonal, 0 above it

    /// ln density. @param latents (n, D - 1) @return (n)
    [[nodiscard]] at::Tensor log_density(const at::Tensor& latents) const;

    /// Latents with the standard Normal numbers given. @param normals (n, K, D - 1) @return (n, K, D - 1)
    [[nodiscard]] at::Tensor draw(const at::Tensor& normals) const;
};

/// The galaxy encoder q(v | x, location, flux, galaxy) (paper section 3.1). The flux's latent follows from the flux; here are the others.
class GalaxyEncoderImpl : public torch::nn::Module {
public:
    /// @param latents D
    GalaxyEncoderImpl(const EncoderConfig& config, std::int64_t latents);

    /// A new network answers with the prior, Normal(0, I).
    ShapePosterior forward(const SourceWindows& windows);

    void use_bfloat16() { tower_->use_bfloat16(); }

private:
    std::int64_t shape_latents_;
    WindowTower tower_{nullptr};
    torch::nn::Linear hidden_{nullptr};
    torch::nn::Linear out_{nullptr};
};
TORCH_MODULE(GalaxyEncoder);

}  // namespace bliss::encoder
