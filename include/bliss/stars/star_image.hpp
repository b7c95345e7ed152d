#pragma once

#include "bliss/core/image.hpp"
#include "bliss/stars/star.hpp"
#include "bliss/stars/wings.hpp"
#include "bliss/survey/frame.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace bliss::stars {

/// The image that a set of stars makes behind a frame's PSF, and how well it explains the frame.
///
/// A pixel is x ~ Normal(m, m + (k_psf_error s)^2) with m the background, the diffuse light and the stars' light, and s the light
/// above the background: the paper's equation (6), and how well a PSF is known. Pixels that are not valid say nothing.
///
/// A star's light is followed pixel by pixel as far as it matters by itself. What lies beyond, up to k_far_px, matters where there are
/// many stars: it is drawn with all of them, smoothed over k_far_step_px, whenever the image is rendered.
///
/// Diffuse light is what neither the background nor stars account for: halos and far wings of bright stars, and stars below the prior's
/// faintest flux. It is given at nodes, k_node_px apart in rows and columns, and linear between them. What bright stars have about them
/// beyond their PSF, each alike, is learnt from the frame (Wings), and like far light drawn whenever the image is rendered.
class StarImage {
public:
    /// Relative error of the PSF.
    static constexpr float k_psf_error = 0.01f;
    /// No star's light is drawn farther out, pixels.
    static constexpr float k_most_reach_px = 30;
    static constexpr std::int64_t k_node_px = 32;
    static constexpr std::int64_t k_far_px = 60, k_far_step_px = 8;

    /// No stars and no diffuse light. @param frame must outlive it
    explicit StarImage(const survey::Frame& frame);

    [[nodiscard]] const survey::Frame& frame() const { return frame_; }
    [[nodiscard]] LitStar lit(const Star& star) const;

    /// A change of the image that has been looked at, but not made.
    class Draft {
        friend class StarImage;
        std::int64_t row_begin_ = 0, row_end_ = 0, col_begin_ = 0, col_end_ = 0;
        std::vector<float> expected_;

        /// Makes room for the part's pixels. @return whether there are any
        bool open();
    };

    /// ln p(frame | image with the change) - ln p(frame | image as it is). @param draft gets the changed pixels
    [[nodiscard]] double log_ratio(std::span<const LitStar> without, std::span<const LitStar> with, Draft& draft) const;
    /// The same of more or less diffuse light at a node, electrons per pixel.
    [[nodiscard]] double log_ratio_of_level(std::int64_t node_row, std::int64_t node_col, double more_e, Draft& draft) const;
    /// Where a star stands and how bright it is that explains the frame better, to first order: a Gauss-Newton step of at most half a
    /// pixel and 0.5 in ln flux.
    [[nodiscard]] Star improved(const LitStar& star) const;
    /// Makes the change. Drafts that share no pixel may be made at once.
    void take(const Draft& draft);

    /// Replaces all stars, with their far light and wings, and the diffuse light; rounding of many changes is gone. @param levels_e (nodes)
    void render(std::span<const LitStar> stars, std::span<const float> levels_e);

    /// Learns the wings from what is left of the frame about these stars, which are those of the image; `render` then draws them.
    void fit_wings(std::span<const LitStar> stars);
    /// Light of the wings in the image as it was last rendered (H, W), electrons.
    [[nodiscard]] const Image<float>& wing_light() const { return wing_light_; }

    [[nodiscard]] std::int64_t node_rows() const { return frame_.height() / k_node_px + 2; }
    [[nodiscard]] std::int64_t node_cols() const { return frame_.width() / k_node_px + 2; }
    /// Diffuse light of all pixels. @param levels_e (nodes)
    [[nodiscard]] Image<float> diffuse(std::span<const float> levels_e) const;

    /// Mean of the valid pixels of a part of the frame, electrons, but not less than the median background.
    [[nodiscard]] double mean_level(double x_begin, double x_end, double y_begin, double y_end) const;
    /// Standard deviation of a Gaussian PSF of the same noise-equivalent area, pixels.
    [[nodiscard]] double psf_sigma_px() const { return psf_sigma_px_; }
    [[nodiscard]] const Image<float>& expected() const { return expected_; }

private:
    /// Adds a star's light to columns of a row, or with sign -1 takes it away. @param out the first of these columns
    void add(const LitStar& star, float sign, std::int64_t row, std::int64_t col_begin, std::int64_t col_end, float* out) const;
    [[nodiscard]] double log_ratio_of(const Draft& draft) const;
    /// Light of stars beyond their reach (H, W).
    [[nodiscard]] Image<float> far_light(std::span<const LitStar> stars) const;
    /// Brings misfit and precision up to date in a part of a row.
    void weigh(std::int64_t row, std::int64_t col_begin, std::int64_t col_end);

    const survey::Frame& frame_;
    std::vector<float> profile_;   ///< the PSF over the square of the radius
    std::vector<float> far_profile_;   ///< over the radius
    double psf_sigma_px_ = 0;
    double background_e_ = 0;      ///< median
    double noise_e_ = 0;           ///< of the frame's mean pixel
    std::optional<Wings> wings_;   ///< none before they are learnt
    Image<float> wing_light_;
    Image<float> expected_;        ///< m
    Image<float> misfit_;          ///< (x - m)^2 / variance, 0 where not valid
    Image<float> precision_;       ///< 1 / variance
};

}  // namespace bliss::stars
