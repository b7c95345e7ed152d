#pragma once

#include "bliss/core/config.hpp"
#include "bliss/core/random.hpp"
#include "bliss/survey/psf.hpp"

#include <array>
#include <vector>

namespace bliss::simulator {

/// Galaxies of this flux and more may have clumps; those of fainter ones would drown in noise.
inline constexpr double k_clumps_from_e = 2.5e4;

/// What differs from field to field, as ranges a simulated image draws from: seeing, sky, source density, bad pixels.
/// Defaults cover SDSS r (photoField tables of two runs).
struct ConditionsConfig {
    double sources_per_tile_low = 0.004;    ///< labelled sources per 4x4-pixel tile
    double sources_per_tile_high = 0.04;
    double sources_per_tile_power = -1;     ///< images with a rate r are as frequent as r to this power; -1: log-uniform
    double background_e_low = 400;          ///< gamma_n, log-uniform
    double background_e_high = 1600;
    double psf_sigma1_px_low = 0.9;         ///< core of the double Gaussian
    double psf_sigma1_px_high = 1.95;
    double psf_sigma2_px_low = 2.3;         ///< second Gaussian
    double psf_sigma2_px_high = 4.0;
    double psf_b_high = 0.15;               ///< its peak against the core's, from 0
    double psf_sigma_p_px_low = 1.7;        ///< power-law wings
    double psf_sigma_p_px_high = 3.6;
    double psf_beta_low = 2.8;
    double psf_beta_high = 3.6;
    double psf_p0_high = 0.0125;            ///< their peak against the core's, from 0
    double psf_ellipticity_high = 0;        ///< how far the PSF is out of round, from 0; the networks are told a round one
    double clump_share_high = 0;            ///< share of a bright galaxy's light that lies in clumps, from 0; nothing is told of them
    double halo_share_high = 0.015;         ///< light of a star far outside the PSF, from 0
    double spike_share_high = 1.2e-3;       ///< light of a star in each of two crossing diffraction spikes, from 0
    double ray_share_high = 2e-3;           ///< light of a star in each of four short rays near it, from 0
    double bright_star_share = 0;           ///< share of images that get one more star, brighter than the prior would often draw
    double bright_star_flux_e_low = 1e6;    ///< of that star, up to the prior's flux_max_e, log-uniform
    double saturation_e_low = 3e4;          ///< electrons from which a pixel is not valid, log-uniform
    double saturation_e_high = 4e5;
    double bad_pixel_share = 2e-4;          ///< share of pixels hit by cosmic rays or defects
    double edge_share = 0.1;                ///< share of images that show an edge of the frame
};

void describe(ConfigVisitor& visitor, ConditionsConfig& config);

/// @throws ConfigError when a low end is above its high end.
void check_conditions(const ConditionsConfig& config);

/// How a PSF is out of round: ellipticity (a^2 - b^2) / (a^2 + b^2) times cos and sin of twice the major axis' angle, which is measured
/// counter-clockwise from +x (columns) towards +y (rows).
struct PsfEllipticity {
    double e1 = 0;
    double e2 = 0;
};

/// Light of stars that the PSF does not hold: seen around the brightest only. A round Gaussian halo; the spikes that the
/// telescope's spider makes, two crossing lines, each a long thin Gaussian; and short rays on one side, near the core. Measured on
/// the brightest star of SDSS 94-1-12 (r 10.3), in shares of its flux per pixel: halo and spikes 2e-6 at 30 px, rays 2e-5 at 16 px.
struct ScatteredLight {
    /// A thin Gaussian along a line that leaves the star.
    struct Ray {
        double share = 0;
        double angle_rad = 0;
        double distance_px = 0;  ///< of its centre from the star
        double sigma_px = 1;     ///< along the line
    };
    double halo_share = 0;
    double halo_sigma_px = 1;
    double spike_share = 0;     ///< of each line
    double spike_sigma_px = 1;  ///< along the line
    double angle_rad = 0;       ///< of the first line
    std::array<Ray, 4> rays = {};
};

/// One image's draw.
struct Conditions {
    double sources_per_tile;
    double background_e;
    double saturation_e;
    survey::Psf psf;
    ScatteredLight scattered = {};
    PsfEllipticity ellipticity = {};   ///< of the PSF that light falls through; `psf` is round, of the same area
};

/// Mean labelled sources per 4x4-pixel tile over images of such conditions.
[[nodiscard]] double mean_rate(const ConditionsConfig& config);

/// The source rate alone.
[[nodiscard]] double draw_rate(const ConditionsConfig& config, RandomStream& random);

/// The shape of a PSF alone.
[[nodiscard]] survey::Psf::SdssParameters draw_psf(const ConditionsConfig& config, RandomStream& random);
/// Light outside the PSF alone.
[[nodiscard]] ScatteredLight draw_scattered_light(const ConditionsConfig& config, RandomStream& random);

[[nodiscard]] Conditions draw_conditions(const ConditionsConfig& config, RandomStream& random);

/// A rectangle of pixels that are not valid: rows [row, row + rows), columns [col, col + cols).
struct BadRectangle {
    std::int64_t row, col, rows, cols;
};

/// Bad pixels of one image: short streaks, and with `edge_share` one side of the image that is off the frame.
[[nodiscard]] std::vector<BadRectangle> draw_bad_pixels(const ConditionsConfig& config, std::int64_t height,
                                                        std::int64_t width, RandomStream& random);

}  // namespace bliss::simulator
