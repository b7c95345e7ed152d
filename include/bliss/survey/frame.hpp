#pragma once

#include "bliss/core/ids.hpp"
#include "bliss/core/image.hpp"
#include "bliss/survey/psf.hpp"
#include "bliss/survey/wcs.hpp"

#include <optional>
#include <string>
#include <vector>

namespace bliss::survey {

/// One band of one field, in the units of the statistical model (photo-electrons).
///
/// Noise: a pixel is Normal(lambda + background, lambda + background) (paper, equation 6). Detector noise (dark variance)
/// enters as extra background: the reader adds it, in electrons squared, to both `electrons` and `background_e`, which
/// leaves x - background untouched and makes the variance right.
struct Frame {
    FieldId id;
    std::string band;                       ///< "r"
    Image<float> electrons;                 ///< (H, W) x_n: photo-electrons, sky included
    Image<float> background_e;              ///< (H, W) gamma_n: expected electrons without sources, positive
    Image<std::uint8_t> valid;              ///< (H, W) 1 where the pixel can be used; 0: saturated, cosmic ray, masked, NaN
    std::vector<float> electrons_per_nmgy;  ///< (W) calibration of each column
    Psf psf;
    std::optional<Wcs> wcs;  ///< absent where a generic image has none
    std::string source;      ///< path of the image, for messages
    bool has_mask = false;   ///< a mask of bad pixels was at hand

    [[nodiscard]] std::int64_t height() const { return electrons.height(); }
    [[nodiscard]] std::int64_t width() const { return electrons.width(); }
};

/// @throws DataError when the shapes disagree, no pixel is valid, or a background is not positive.
void check_frame(const Frame& frame);

/// Marks as not valid, and fills with the background, what is no measurement but a blank value: pixels that are not finite, and
/// those farther below the background than noise ever falls. Needs a background that is positive.
void mask_blank_pixels(Frame& frame);

/// Median background of the valid pixels, which must be positive, electrons; NaN where none is valid.
[[nodiscard]] double median_background_e(const Frame& frame);

/// Share of valid pixels.
[[nodiscard]] double valid_share(const Frame& frame);

}  // namespace bliss::survey
