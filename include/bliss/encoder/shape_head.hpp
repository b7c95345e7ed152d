#pragma once

#include "bliss/core/random.hpp"
#include "bliss/encoder/affine_couplings.hpp"
#include "bliss/encoder/settings.hpp"

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>

namespace bliss::encoder {

/// q of the shape latents w = v[1 ... D - 1] of n galaxies: a mixture of P Normals of any covariance, each by the lower Cholesky factor L
/// of its inverse. Where there are couplings the mixture is of numbers that these take to the latents: what the image says of a galaxy, as
/// of its size, can bind its latents to a curved surface.
struct ShapePosterior {
    at::Tensor log_weight;        ///< (n, P) ln of the parts' shares, which sum to 1
    at::Tensor mean;              ///< (n, P, D - 1)
    at::Tensor precision_factor;  ///< (n, P, D - 1, D - 1) L, positive on the diagonal, 0 above it
    AffineCouplings couplings{};  ///< none: the latents are the mixture's own
    at::Tensor context{};         ///< (n, c) what the couplings are told of each galaxy

    /// Of the first galaxies alone.
    [[nodiscard]] ShapePosterior first(std::int64_t galaxies) const;

    /// ln density. @param latents (n, D - 1) @return (n)
    [[nodiscard]] at::Tensor log_density(const at::Tensor& latents) const;

    /// K draws with the random numbers given. @param numbers (n, K, D): one uniform on (0, 1), which picks the part, and D - 1 of the
    /// standard Normal @return (n, K, D - 1)
    [[nodiscard]] at::Tensor draw(const at::Tensor& numbers) const;
};

/// The next random numbers of `draws` draws. @param out (draws, D), see ShapePosterior::draw
void write_shape_numbers(RandomStream& random, std::int64_t draws, std::int64_t latents, float* out);

/// The posterior of galaxies' shapes from what a tower saw of them. The flux's latent follows from the flux; here are the others.
class ShapeHeadImpl : public torch::nn::Module {
public:
    /// @param numbers that it reads of each galaxy @param latents D
    ShapeHeadImpl(const EncoderConfig& config, std::int64_t numbers, std::int64_t latents);

    /// A new network answers with about the prior, Normal(0, I). @param seen (n, numbers) float
    ShapePosterior forward(const at::Tensor& seen);

private:
    std::int64_t shape_latents_;
    std::int64_t components_;
    torch::nn::Linear seen_{nullptr};
    torch::nn::Linear hidden_{nullptr};
    torch::nn::Linear out_{nullptr};
    AffineCouplings couplings_;
};
TORCH_MODULE(ShapeHead);

}  // namespace bliss::encoder
