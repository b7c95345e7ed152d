#pragma once

#include "bliss/stars/star_image.hpp"

#include <cstdint>
#include <vector>

namespace bliss::stars {

/// The prior of a field of stars: a Poisson process on the sky, fluxes from a truncated Pareto law (paper, equations 1, 2 and 4).
struct StarPrior {
    double stars_per_px = 0;               ///< of all fluxes
    double alpha = 0.5;                    ///< Pareto exponent
    double ln_flux_low = 0, ln_flux_high = 1;   ///< ln(flux / electron)

    [[nodiscard]] bool holds(double ln_flux_e) const { return ln_flux_e >= ln_flux_low && ln_flux_e <= ln_flux_high; }
    /// ln of the density of fluxes, per unit of ln flux, within the limits.
    [[nodiscard]] double log_density(double ln_flux_e) const;
};

struct SamplerSettings {
    std::int64_t burn_in = 200;    ///< sweeps before the first draw
    std::int64_t draws = 64;       ///< kept
    std::int64_t thin = 6;         ///< sweeps from one draw to the next
    bool free_density = false, free_alpha = false;   ///< drawn with the stars, flat in the logarithm; else as given
    std::uint64_t seed = 0;
    std::uint32_t field = 0;       ///< number of the field: what is drawn depends on it and the seed alone
};

/// Draws from the posterior of a field of stars.
struct StarDraws {
    std::vector<std::vector<Star>> draws;   ///< stars of all fluxes of the prior, some a little outside the frame
    Image<float> diffuse_e;  ///< posterior mean of the diffuse light, and the wings as last rendered (H, W), electrons per pixel
    StarPrior prior;                        ///< the one given, or the mean of the drawn ones
};

/// How far outside the frame stars are looked for: the reach of the prior's brightest, whose light comes into it.
[[nodiscard]] double margin_px(const StarImage& image, const StarPrior& prior);

/// Limits of a free density, stars per pixel, and of a free exponent.
inline constexpr double k_density_low = 1e-5, k_density_high = 1, k_alpha_low = 0.05, k_alpha_high = 3;

/// Draws from p(stars, diffuse light | frame) with the likelihood itself, by Metropolis-Hastings steps that shift a star, pass flux from
/// one to another, make or remove one, split one or join two. A sweep goes over blocks of 64 x 64 pixels, in four turns, those of one turn
/// at once; blocks lie elsewhere in every sweep. The draws do not depend on the threads.
///
/// Before the first sweep the stars given are moved to where they explain the frame best. Of the burn-in, a quarter of the sweeps are for
/// places and fluxes alone, and over the first two fifths the prior's density rises to its own from a tenth of it. The diffuse light's
/// prior is a Normal of 1 % of the frame's mean pixel, cut at half a per cent of the background below none. The wings of bright stars are
/// learnt before the first sweep, anew every 16 sweeps of the burn-in, and then stay as they are.
/// @param start stars to begin with, as a network found them
/// @source Green 1995, "Reversible jump Markov chain Monte Carlo computation"; for catalogues Portillo et al. 2017.
[[nodiscard]] StarDraws sample_stars(StarImage& image, const std::vector<Star>& start, const StarPrior& prior,
                                     const SamplerSettings& settings);

}  // namespace bliss::stars
