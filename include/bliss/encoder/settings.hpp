#pragma once

#include "bliss/core/config.hpp"
#include "bliss/survey/psf.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bliss::encoder {

/// Shape of the networks. Everything here is stored in the model file.
struct EncoderConfig {
    std::vector<std::string> bands{"r"};
    std::int64_t tile_px = 4;                       ///< side of a tile, pixels: 4, or 2 for crowded fields
    std::int64_t max_sources = 2;                   ///< M, most sources a tile's posterior holds
    std::int64_t reach = 1;                         ///< tiles around one that its posterior is told of, on each side; 0: none
    std::int64_t components = 1;                    ///< C, parts of the joint posterior of a source's location and flux
    std::int64_t shape_components = 1;              ///< P, parts of the posterior of a galaxy's shape
    std::int64_t shape_couplings = 0;               ///< couplings that bend that posterior
    std::int64_t width_terms = 0;                   ///< terms of a correction of the parts' widths by brightness
    bool place_anchor = false;                      ///< whether places, too, are read against the matched filter's peak
    double flux_low_e = 0;                          ///< no source is fainter, electrons; 0: not said
    std::int64_t width = 24;                        ///< channels at half resolution are twice, at quarter resolution four times as many
    std::int64_t head_width = 128;                  ///< hidden channels of the detection head
    std::int64_t source_width = 12;                 ///< encoder of single sources: its stages have 2, 3 and 4 times as many channels
    std::int64_t shape_width = 0;                   ///< the same of a second one for shapes; 0: types and shapes share theirs
    std::vector<double> compression_scales{2, 30};  ///< asinh(u / scale), u in units of the noise
};

void describe(ConfigVisitor& visitor, EncoderConfig& config);

/// @throws ConfigError when the settings contradict each other.
void check_encoder(const EncoderConfig& config);

/// Numbers that differ between fields and condition the networks: ln noise-equivalent area, ln radii of 50 % and 80 %
/// encircled energy of the PSF, ln background; shifted and scaled to order one.
inline constexpr std::int64_t k_condition_count = 4;
[[nodiscard]] std::array<float, k_condition_count> conditioning(const survey::Psf& psf, double background_e);

/// What the first of them, n, says of the PSF's noise-equivalent area: centre * exp(scale * n).
inline constexpr double k_area_centre_px = 33, k_area_scale = 0.6;

/// ln of a flux against the noise of a pixel, as the networks read and give it: of order one. A source at the limit of detection has
/// about e^4 times the noise.
inline constexpr double k_ln_flux_centre = 4, k_ln_flux_scale = 2;
[[nodiscard]] constexpr double scaled_ln_flux(double ln_flux_above_noise) {
    return (ln_flux_above_noise - k_ln_flux_centre) / k_ln_flux_scale;
}

/// The prior source rate, sources above the label limit per tile, as the networks read it: its logarithm, of order one.
[[nodiscard]] float rate_conditioning(double sources_per_tile);

}  // namespace bliss::encoder
