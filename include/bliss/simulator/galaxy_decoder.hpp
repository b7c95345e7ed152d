#pragma once

#include "bliss/simulator/galaxy_light.hpp"

#include <span>
#include <vector>

namespace bliss::simulator {

/// A fully connected layer: out = weight * in + bias.
struct DenseLayer {
    std::vector<float> weight;   ///< (outputs, inputs), row-major
    std::vector<float> bias;     ///< (outputs)
};

/// An affine coupling: the latents with `moved[i]` are scaled and shifted by what a small network makes of the others.
/// @source Dinh et al. 2017, "Density estimation using Real NVP".
struct CouplingLayer {
    std::vector<char> moved;     ///< (D - 1)
    DenseLayer hidden;           ///< from all latents, the moved ones set to 0
    DenseLayer out;              ///< D - 1 logarithms of scales, D - 1 shifts
};

/// The decoder g_theta of equation (5)'s galaxies: D latents v ~ Normal(0, I) to a mixture of J elliptical Gaussians.
///
/// v[0] is the flux (its normal quantile, see PriorConfig) and no concern of the decoder; v[1] ... v[D - 1] are the shape. A few
/// couplings take Normal numbers to the codes that galaxies have, and a fully connected network decodes these. Lengths come out in
/// units of the median size at the galaxy's flux (size_unit_px). The light's centroid is at 0.
class GalaxyDecoder {
public:
    /// @throws DataError when the layers do not fit each other.
    GalaxyDecoder(std::vector<CouplingLayer> couplings, std::vector<DenseLayer> layers);

    [[nodiscard]] std::size_t latents() const { return shape_latents_ + 1; }
    [[nodiscard]] std::size_t gaussians() const { return gaussians_; }

    /// @param v (D); v[0] is not looked at @param unit_px length of the unit
    [[nodiscard]] GalaxyLight light(std::span<const float> v, double unit_px) const;

    /// Light of many galaxies, faster than calling `light` for each; lengths in their units.
    /// @param shape_latents (n, D - 1) row by row, without the flux's @param out (n)
    void lights(std::span<const float> shape_latents, std::span<GalaxyLight> out) const;

    /// Morphologies of the same, radii in their units.
    void morphologies(std::span<const float> shape_latents, std::span<Morphology> out) const;

private:
    struct Mixtures;

    /// @param shape_latents of as many galaxies as are decoded at once, or fewer
    [[nodiscard]] Mixtures decode(std::span<const float> shape_latents) const;
    template <class Visit>
    void for_each_block(std::span<const float> shape_latents, const Visit& visit) const;

    std::vector<CouplingLayer> couplings_;
    std::vector<DenseLayer> layers_;
    std::size_t shape_latents_;
    std::size_t gaussians_;
};

/// Numbers that the decoder's network gives for a Gaussian, in order: the logarithm of its weight; its centre; of the Cholesky factor
/// of its covariance the logarithms of the diagonal, and the number below the diagonal against the one above it.
enum MixtureNumber : std::size_t { k_log_weight, k_centre_x, k_centre_y, k_ln_scale_x, k_ln_scale_y, k_shear, k_mixture_numbers };

/// A centre is k_centre_reach tanh(number), the logarithm of a scale k_ln_scale_centre + k_ln_scale_reach tanh(number).
inline constexpr double k_centre_reach = 2;
inline constexpr double k_ln_scale_centre = -1;
inline constexpr double k_ln_scale_reach = 4;
/// The logarithm of a coupling's scale is k_coupling_reach tanh(number).
inline constexpr double k_coupling_reach = 1.5;

}  // namespace bliss::simulator
