#pragma once

#include "bliss/core/image.hpp"
#include "bliss/simulator/prior.hpp"
#include "bliss/survey/frame.hpp"

#include <cstdint>
#include <vector>

namespace bliss::inference {

/// How well the posterior explains the image around one place.
struct SourceFit {
    double p_value = 0;              ///< posterior predictive, within one FWHM of the PSF; NaN where no pixel there is valid
    double surroundings_sigma = 0;   ///< light within 12 px that the posterior does not expect, in its predictive standard deviations
};

/// How well the posterior explains a frame.
struct FieldFit {
    double p_value = 0;              ///< posterior predictive, over all valid pixels
    double chi2_per_px = 0;          ///< mean squared residual in predictive standard deviations: about 1
    double unexplained_share = 0;    ///< of 4 x 4-pixel cells, those whose light is 5 or more standard deviations from what is expected
};

/// The image that the posterior expects, from joint draws of the catalogue, and how far the real one is from it.
///
/// The statistic is T(x) = sum over pixels of (x - m)^2 / V, with the posterior mean m of the expected pixel and the predictive variance V:
/// the noise, and the spread of the draws. Its reference is T of images that the draws would make. Given a draw, T is a sum of squares of
/// Normals with known means and variances; its tail is taken as that of the scaled chi-square with the same mean and variance, and the
/// p-value is the mean over the draws. Draws stand a little closer to their own mean than the image does; their distances are widened by
/// sqrt((K + 1) / (K - 1)).
/// @source Gelman, Meng, Stern 1996, "Posterior predictive assessment of model fitness".
class Reconstruction {
public:
    /// Fewer draws do not say how far they are spread.
    static constexpr std::int64_t k_least_draws = 8;

    /// @param frame must outlive it @param draws the sources of each draw, at least k_least_draws
    Reconstruction(const survey::Frame& frame, const std::vector<std::vector<simulator::Source>>& draws);

    /// How many of a frame's draws are looked at: their images are held in memory.
    [[nodiscard]] static std::int64_t draws_looked_at(const survey::Frame& frame, std::int64_t draws);

    /// Posterior mean of the electrons of all sources (H, W).
    [[nodiscard]] const Image<float>& mean() const { return mean_; }

    [[nodiscard]] SourceFit at(double x_px, double y_px) const;
    [[nodiscard]] FieldFit whole() const;

private:
    class Sums;

    const survey::Frame& frame_;
    std::vector<Image<float>> draws_;   ///< electrons of each draw's sources
    Image<float> mean_;
    Image<float> spread_;               ///< variance of the draws
};

}  // namespace bliss::inference
