#include "bliss/encoder/settings.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <cmath>

namespace bliss::encoder {

void describe(ConfigVisitor& visitor, EncoderConfig& config) {
    visitor.field("bands", config.bands, "bands the networks read, in this order");
    visitor.field("tile_px", config.tile_px, "side of a tile, pixels: 4, or 2 for crowded fields", Range{2, 4});
    visitor.field("max_sources", config.max_sources, "most sources in a tile (M)", Range{1, 4});
    visitor.field("reach", config.reach, "tiles around one, on each side, that its posterior is told of; 0: tiles are independent",
                  Range{0, 2});
    visitor.field("components", config.components, "parts of a source's posterior of location and flux (C)", Range{1, 4});
    visitor.field("shape_components", config.shape_components, "parts of the posterior of a galaxy's shape (P)", Range{1, 8});
    visitor.field("shape_couplings", config.shape_couplings, "affine couplings that bend that posterior", Range{0, 16});
    visitor.field("width_terms", config.width_terms, "terms of a correction of the widths of location and flux by brightness", Range{0, 8});
    visitor.field("place_anchor", config.place_anchor,
                  "places, too, are read against the peak of the star's matched filter, and the network is told of it");
    visitor.field("flux_low_e", config.flux_low_e,
                  "least flux of a source's posterior, electrons: simulator.prior.label_flux_min_e; 0: none", Range{0, 1e12});
    visitor.field("width", config.width, "width of the detection encoder: 2, later 4 times as many channels", Range{4, 256});
    visitor.field("head_width", config.head_width, "hidden channels of the detection head", Range{4, 1024});
    visitor.field("source_width", config.source_width, "width of the encoder of single sources: 2, 3, later 4 times as many channels",
                  Range{4, 256});
    visitor.field("shape_width", config.shape_width,
                  "the same of convolutions of its own for shapes, 4 or more; 0: types and shapes share theirs", Range{0, 256});
    visitor.field("compression_scales", config.compression_scales, "asinh(u / scale) channels, u in units of the noise", k_positive);
}

void check_encoder(const EncoderConfig& config) {
    if (config.tile_px != 4 && config.tile_px != 2)
        throw ConfigError(fmt::format("encoder.tile_px is {}: a tile has 4 or 2 pixels a side", config.tile_px));
    if (config.shape_width > 0 && config.shape_width < 4)
        throw ConfigError(fmt::format("encoder.shape_width is {}: give 4 or more, or 0", config.shape_width));
    if (config.compression_scales.empty()) throw ConfigError("encoder.compression_scales is empty: the networks need at least one channel");
    if (config.bands.size() != 1)
        throw ConfigError(fmt::format("encoder.bands names {} bands; the simulator draws one", config.bands.size()));
}

std::array<float, k_condition_count> conditioning(const survey::Psf& psf, double background_e) {
    // Centres and scales: middle and half width of the range SDSS frames hold.
    const auto scaled = [](double value, double centre, double scale) {
        return static_cast<float>((std::log(value) - std::log(centre)) / scale);
    };
    return {scaled(psf.noise_equivalent_area_px(), k_area_centre_px, k_area_scale), scaled(psf.radius_of_encircled_energy(0.5), 1.9, 0.3),
            scaled(psf.radius_of_encircled_energy(0.8), 3.4, 0.4), scaled(background_e, 800.0, 0.5)};
}

float rate_conditioning(double sources_per_tile) { return static_cast<float>(std::log(sources_per_tile / 0.013)); }

}  // namespace bliss::encoder
