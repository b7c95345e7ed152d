#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace bliss::survey {

/// One circular Gaussian of a PSF: its share of the flux and its standard deviation.
struct PsfComponent {
    double weight = 0;    ///< share of the total flux
    double sigma_px = 0;  ///< standard deviation, pixels
};

/// The effective (pixel-sampled) point spread function as a mixture of circular Gaussians with total weight 1.
///
/// Sample it at pixel centres; do not integrate over the pixel again, the pixel is part of it. A star of flux f at (x, y)
/// adds f * value(r) to each pixel, r the distance in pixels from the pixel's centre to (x, y).
class Psf {
public:
    /// Takes components with positive widths and weights; scales the weights to sum 1.
    /// @throws DataError when there is none, or a width or weight is not positive and finite.
    explicit Psf(std::vector<PsfComponent> components);

    /// One Gaussian with the full width at half maximum given.
    static Psf from_fwhm(double fwhm_px);

    /// I(r) ~ (1 + (r / scale)^2)^-beta, as a scale mixture of Gaussians no wider than 30 px (or 8 FWHM). beta > 1. Out to
    /// 25 px the shape differs from the closed form by less than 1e-4 of the peak. @throws DataError.
    static Psf from_moffat(double fwhm_px, double beta);

    /// The SDSS double Gaussian with power-law wings.
    /// PSF(r) ~ exp(-r^2 / 2 s1^2) + b exp(-r^2 / 2 s2^2) + p0 (1 + r^2 / (beta sp^2))^(-beta/2), beta > 2.
    /// The shape differs from the closed form by less than 1e-4 of the peak out to 25 px; the wings' widest Gaussian has 15
    /// px, so the integral is that within SDSS's calibration aperture (7.43 arcsec), not of the endless power law.
    /// @throws DataError for parameters that describe no PSF.
    /// @source SDSS photo pipeline, psField HDU 6: PSF_SIGMA1, PSF_SIGMA2, PSF_B, PSF_SIGMAP, PSF_BETA, PSF_P0.
    struct SdssParameters {
        double sigma1_px = 0;
        double sigma2_px = 0;
        double b = 0;
        double sigma_p_px = 0;
        double beta = 0;
        double p0 = 0;
    };
    static Psf from_sdss(const SdssParameters& parameters);

    /// This PSF convolved with a circular Gaussian of the width given (>= 0).
    [[nodiscard]] Psf convolved(double sigma_px) const;

    [[nodiscard]] std::span<const PsfComponent> components() const { return components_; }

    /// Value at distance r_px from the centre, per pixel of area; the plane's integral is 1.
    [[nodiscard]] double value(double r_px) const;

    /// Share of the flux within r_px of the centre.
    [[nodiscard]] double encircled_energy(double r_px) const;

    /// Radius that holds the share of the flux given (0 < share < 1), pixels.
    /// @throws DataError for another share.
    [[nodiscard]] double radius_of_encircled_energy(double share) const;

    /// Full width at half maximum, pixels.
    [[nodiscard]] double fwhm_px() const;

    /// Noise-equivalent area 1 / sum PSF^2, pixels: background noise of an optimal flux is sqrt(area * variance).
    [[nodiscard]] double noise_equivalent_area_px() const;

private:
    std::vector<PsfComponent> components_;
};

}  // namespace bliss::survey
