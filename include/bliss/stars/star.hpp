#pragma once

namespace bliss::stars {

/// A star on a frame: the centre of the first pixel is at (0, 0).
struct Star {
    double x_px = 0, y_px = 0;
    double ln_flux_e = 0;  ///< ln(flux / electron)
};

/// A star with what its light takes to draw.
struct LitStar {
    Star star;
    float flux_e = 0;
    float reach_px = 0;  ///< its light ends here
};

}  // namespace bliss::stars
