#pragma once

#include "bliss/core/image.hpp"
#include "bliss/fits/file.hpp"

namespace bliss::survey {

/// Sets `valid` to 0 where an SDSS mask file (fpM) says that a pixel is not a plain measurement.
///
/// Planes used: SATUR, CR, INTERP and, away from the frame's edge, NOTCHECKED. Their shares in r of 94-1-12 (others alike):
/// - SATUR 0.017 %, CR 0.016 %.
/// - INTERP 0.62 % (u 2.2 %): bad columns, cosmic rays and bleed trails filled in from their neighbours. The values look
///   plausible but are no photon counts, and false over a star.
/// - NOTCHECKED 1.03 %, nearly all of it the 4-6 px at the edge where PHOTO's object finder does not fit: those pixels are
///   good (without INTERP: median 0.63 counts and scatter 6.70, the frame's are 0.60 and 6.64), so they stay. The rest,
///   0.008 %, are cores of saturated stars and go.
/// @throws FitsError naming file and HDU; DataError when the mask is of another shape than the image.
void apply_sdss_mask(fits::FitsFile& mask, Image<std::uint8_t>& valid);

}  // namespace bliss::survey
