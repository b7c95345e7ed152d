#pragma once

#include "bliss/core/config.hpp"
#include "bliss/core/random.hpp"
#include "bliss/simulator/galaxy_decoder.hpp"
#include "bliss/simulator/galaxy_light.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace bliss::simulator {

/// One light source z_s = (location, type, flux, shape).
struct Source {
    double x_px = 0;              ///< column of the centre; 0 is the centre of the first pixel
    double y_px = 0;              ///< row
    bool is_star = true;
    double flux_e = 0;            ///< total flux, photo-electrons
    GalaxyLight light = {};       ///< of galaxies
    std::vector<float> latents = {};  ///< v (D) of learnt galaxies
};

enum class GalaxyModel {
    bulge_disk,  ///< exponential disk + de Vaucouleurs bulge
    learnt,      ///< the decoder of a galaxy VAE (paper section 3.2)
};

enum class SizeLaw {
    flux,   ///< half-light radius log-normal about a power of the flux
    gamma,  ///< the paper's: a shifted Gamma, whatever the flux
};

/// Prior over catalogues: a marked Poisson process (paper, equations 1-4). Defaults are for SDSS r in electrons.
///
/// Sources fainter than `label_flux_min_e` are simulated but are not what an encoder reports: nuisance, which forward
/// training marginalises (paper section 3.2). `source rate` always means sources above that flux.
struct PriorConfig {
    double star_fraction = 0.3;           ///< xi of equation (3), among all simulated sources
    double flux_min_e = 250;              ///< f_min of equation (4)
    double flux_max_e = 1e8;
    double label_flux_min_e = 500;
    double star_alpha = 0.43;             ///< Pareto exponent of stars
    double galaxy_alpha = 0.75;           ///< Pareto exponent of galaxies
    GalaxyModel galaxies = GalaxyModel::bulge_disk;
    SizeLaw size_law = SizeLaw::flux;
    double size_at_reference_arcsec = 0.65;
    double size_reference_flux_e = 1560;
    double size_flux_exponent = 0.3;
    double size_ln_scatter = 0.5;
    double bulge_to_disk_size = 0.5;      ///< for law "gamma": scale and offset of the bulge against the disk
    double arcsec_per_px = 0.396;
};

void describe(ConfigVisitor& visitor, PriorConfig& config);

/// @throws ConfigError when the flux limits are out of order.
void check_prior(const PriorConfig& config);

/// Truncated Pareto quantile. @source inverse of F(f) = (f_min^-a - f^-a) / (f_min^-a - f_max^-a).
[[nodiscard]] double pareto_quantile(double u, double flux_min, double flux_max, double alpha);

/// Share of a truncated Pareto above `flux`.
[[nodiscard]] double pareto_share_above(double flux, double flux_min, double flux_max, double alpha);

/// The latent v_1 that a learnt galaxy of this flux has: the standard Normal quantile of the flux's share of the prior.
[[nodiscard]] double flux_latent(const PriorConfig& config, double flux_e);

/// Share of simulated sources that are brighter than the label limit.
[[nodiscard]] double labelled_share(const PriorConfig& config);

/// The area sources are drawn on, pixels; the image is [-0.5, width - 0.5) x [-0.5, height - 0.5).
struct Area {
    double x_low = 0;
    double y_low = 0;
    double width = 0;
    double height = 0;
};

/// The length a galaxy's shape is measured in, pixels: by law "flux" the median half-light radius along the major axis at this flux, by
/// law "gamma" 2 arcsec.
[[nodiscard]] double size_unit_px(const PriorConfig& config, double flux_e);

/// Draws a bulge + disk galaxy's shape, its radii in units of size_unit_px.
[[nodiscard]] GalaxyShape draw_shape(const PriorConfig& config, RandomStream& random);

/// A round galaxy of the median size at its flux, half disk and half bulge; radii in pixels.
[[nodiscard]] GalaxyShape median_shape(const PriorConfig& config, double flux_e);

/// Decodes the light of the learnt galaxies among sources: those that have latents.
void light_up(const PriorConfig& config, const GalaxyDecoder& decoder, std::span<Source> sources);

/// Draws flux, type and light of one source; the location is left at 0.
/// @param decoder of learnt galaxies; not looked at for others
[[nodiscard]] Source draw_mark(const PriorConfig& config, const GalaxyDecoder* decoder, RandomStream& random);

/// Draws a catalogue: count ~ Poisson(rate * area / labelled share), uniform locations, marks. Brightest first.
/// @param labelled_rate_per_px mean number of sources above the label limit per pixel (mu of equation 1)
[[nodiscard]] std::vector<Source> draw_catalog(const PriorConfig& config, const GalaxyDecoder* decoder, double labelled_rate_per_px,
                                               const Area& area, RandomStream& random);

}  // namespace bliss::simulator
