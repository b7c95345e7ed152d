#pragma once

#include "bliss/survey/psf.hpp"

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

namespace bliss::encoder {

/// What the encoders of single sources are told of one: a place and a flux, and how sure these are. Errors of 0 say that the source *is*
/// at the place, with the flux: a draw of the detection encoder (paper section 3.1). Else they are its posterior's mean and standard
/// deviation, and the answer averages over it.
struct GivenSource {
    double x_px = 0, y_px = 0;
    double x_err_px = 0, y_err_px = 0;
    double ln_flux_above_noise = 0;   ///< ln of flux against the noise of a pixel, electrons both
    double ln_flux_err = 0;
};

/// Sources to look at one by one: each is a window of an image's features centred on the pixel of its place (paper section 3.1).
struct SourceWindows {
    at::Tensor features;      ///< (n, C, 52, 52) as tile::features gives them; the source's pixel is at index 26
    at::Tensor given;         ///< (n, k_given_count) see given_numbers
    at::Tensor conditions;    ///< (n, k_condition_count)
    at::Tensor psf_profiles;  ///< (I, k_profile_length + 1) see psf_profile
    at::Tensor psf_index;     ///< (n) int64: which profile is each source's
    at::Tensor star;          ///< (n, 2, 52, 52) made from what is given (add_star_channels): the PSF's profile at every pixel, centred on
                              ///< the given place; and what the image has left without a star of the given flux there, compressed
                              ///< like the features' first channel
};

/// Place from the pixel's centre (x, y, in [-0.5, 0.5]), errors of x and y, ln flux and its error; of order one.
inline constexpr std::int64_t k_given_count = 6;
[[nodiscard]] std::array<float, k_given_count> given_numbers(const GivenSource& source);

/// ln of the PSF against its peak at radii 0, 1/4, 1/2 ... pixels, not below -16, divided by 4; last the peak itself, the share of a
/// star's light in a pixel centred on it.
inline constexpr std::int64_t k_profile_length = 160;
inline constexpr double k_profile_step_px = 0.25;
[[nodiscard]] std::vector<float> psf_profile(const survey::Psf& psf);

/// Fills in `star`. @param compression_scale of the features' first channel
void add_star_channels(SourceWindows& windows, double compression_scale);

/// The same in a few operations on all windows together: what `add_star_channels` does on a GPU.
void add_star_channels_by_tensors(SourceWindows& windows, double compression_scale);

}  // namespace bliss::encoder
