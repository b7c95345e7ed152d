#pragma once

#include "bliss/core/image.hpp"
#include "bliss/stars/star.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace bliss::stars {

/// Light of bright stars that their PSF does not hold and that lies alike about all of them: rays, diffraction spikes, the rise of a halo.
/// A share of the star's flux a pixel, given at nodes k_step_px apart in both directions and linear between them. It is learnt from the
/// frame itself, as what is left about its bright stars in common; where there are few of these it stays near none.
class Wings {
public:
    static constexpr std::int64_t k_reach_px = 30, k_step_px = 2;

    /// @param psf_sigma_px nearer than twice this to a star there are no wings: what is amiss there is its flux
    /// @param noise_e of the frame's mean pixel
    Wings(double psf_sigma_px, double noise_e);

    /// Adds the light of the wings of stars that are bright enough to have any. @param image (H, W), electrons
    void add(std::span<const LitStar> stars, Image<float>& image) const;

    /// The most probable wings, given an image of the frame less everything but wings. Prior: each node by itself, Normal about none.
    /// @param rest_e (H, W), electrons @param precision (H, W), one over its variance; 0 where the frame is not valid
    void fit(std::span<const LitStar> stars, const Image<float>& rest_e, const Image<float>& precision);

private:
    static constexpr std::int64_t k_nodes = 2 * k_reach_px / k_step_px + 1;  ///< in a row or column
    using Nodes = std::array<float, static_cast<std::size_t>(k_nodes * k_nodes)>;

    [[nodiscard]] std::vector<LitStar> bright(std::span<const LitStar> stars) const;
    /// Calls visit(row, col, node, shares) for each pixel near each star: the wings there are the mean of four nodes by these shares.
    template <class Visit>
    static void for_each_pixel(std::span<const LitStar> stars, std::int64_t row_begin, std::int64_t row_end, std::int64_t width,
                               const Visit& visit);
    static void add(const Nodes& nodes, std::span<const LitStar> stars, Image<float>& image);
    /// The transpose of `add`. @param image (H, W)
    [[nodiscard]] static Nodes gathered(std::span<const LitStar> stars, const Image<float>& image);

    Nodes nodes_{};
    Nodes prior_sd_{};
    double least_flux_e_ = 0;
};

}  // namespace bliss::stars
