#pragma once

#include <cmath>

namespace bliss {

/// AB (Pogson) magnitude of a flux in nanomaggies; NaN for a flux that is not positive.
/// @source mag = 22.5 - 2.5 log10(flux / nmgy), SDSS photometric flux definition.
[[nodiscard]] inline double magnitude_from_nmgy(double flux_nmgy) {
    return flux_nmgy > 0 ? 22.5 - 2.5 * std::log10(flux_nmgy) : std::nan("");
}

/// Flux in nanomaggies of an AB (Pogson) magnitude.
[[nodiscard]] inline double nmgy_from_magnitude(double mag) { return std::pow(10.0, 0.4 * (22.5 - mag)); }

/// Magnitude error per relative flux error: 2.5 / ln 10.
inline constexpr double k_mag_per_ln_flux = 1.0857362047581294;

}  // namespace bliss
