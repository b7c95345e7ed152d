#pragma once

#include "bliss/simulator/conditions.hpp"
#include "bliss/simulator/prior.hpp"
#include "bliss/survey/psf.hpp"

#include <cstdint>
#include <vector>

namespace bliss::simulator {

/// One elliptical Gaussian on the image: amplitude * exp(-(a dx^2 + 2 b dx dy + c dy^2)), cut where the exponent falls
/// below -reach. dx, dy are measured from (col + dx0, row + dy0).
struct Gaussian {
    std::int32_t col;     ///< nearest pixel to the centre
    std::int32_t row;
    float dx0;            ///< centre minus nearest pixel, in [-0.5, 0.5]
    float dy0;
    float amplitude;      ///< electrons per pixel at the peak
    float a, b, c;        ///< half the inverse covariance, 1 / px^2
    float reach;          ///< exponent at which it is cut
    std::int32_t half_height;  ///< rows it reaches above and below `row`
};

/// Appends what a source adds to the image as Gaussians: the PSF's for a star; for a galaxy those of its light, each convolved with
/// each of the PSF's (covariances add). What adds less than `tolerance_e` electrons to a pixel is left out.
/// @param ellipticity of all parts of the PSF, whose areas stay
void append_gaussians(const Source& source, const survey::Psf& psf, double tolerance_e, std::vector<Gaussian>& out,
                      const PsfEllipticity& ellipticity = {});

/// Appends the scattered light of a star, which comes on top of its flux.
void append_scattered_light(const Source& star, const ScatteredLight& light, double tolerance_e, std::vector<Gaussian>& out);

}  // namespace bliss::simulator
