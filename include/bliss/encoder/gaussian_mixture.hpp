#pragma once

#include <ATen/core/Tensor.h>

namespace bliss::encoder {

/// Elliptical Gaussians on the plane: B mixtures of J. Lengths in one unit, whichever.
struct GaussianMixture {
    at::Tensor weight;         ///< (B, J) flux
    at::Tensor x, y;           ///< (B, J) centres
    at::Tensor xx, xy, yy;     ///< (B, J) covariances

    /// All lengths multiplied. @param factor (B, 1)
    [[nodiscard]] GaussianMixture scaled(const at::Tensor& factor) const;
};

/// A circular mixture about 0: B of P.
struct CircularMixture {
    at::Tensor weight;         ///< (B, P)
    at::Tensor variance;       ///< (B, P)

    /// The mixture convolved with itself. @return B of P (P + 1) / 2
    [[nodiscard]] CircularMixture convolved_with_itself() const;
};

/// The integral over the plane of (a convolved with the PSF) times (b convolved with the PSF), in closed form:
/// the product of two Gaussians integrates to a Gaussian of the sum of their covariances.
/// @param psf_squared the PSF convolved with itself @return (B)
[[nodiscard]] at::Tensor overlap(const GaussianMixture& a, const GaussianMixture& b, const CircularMixture& psf_squared);

}  // namespace bliss::encoder
