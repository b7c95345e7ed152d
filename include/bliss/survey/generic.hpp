#pragma once

#include "bliss/core/config.hpp"
#include "bliss/survey/frame.hpp"

#include <filesystem>

namespace bliss::survey {

enum class BackgroundMode { estimate, value, image };
enum class PsfKind { gaussian, moffat, mixture };

/// How to read an image that is not SDSS: one FITS image and what its header may not say.
struct GenericImageConfig {
    std::string image;     ///< path of the FITS image (relative paths: to the configuration file)
    std::int64_t hdu = 0;  ///< 0 is the primary HDU
    std::string band = "r";
    std::string unit = "adu";  ///< "adu" or "electrons"
    double gain_e_per_adu = 1;
    double zero_point_mag = 25;   ///< magnitude of one count (adu or electron, as `unit`)
    bool sky_subtracted = false;  ///< true: the image holds no sky, and the background is added back for the noise
    BackgroundMode background = BackgroundMode::estimate;
    double background_value = 0;   ///< counts per pixel, for "value"
    std::string background_image;  ///< path, counts per pixel, for "image"; "{stem}" stands for the image's name without suffix
    double read_noise_e = 0;
    double saturation = 0;   ///< counts; pixels at or above are not used; 0: none
    std::string mask_image;  ///< path, "{stem}" as above; pixels not 0 are not used; empty: none
    PsfKind psf = PsfKind::gaussian;
    double psf_fwhm_px = 0;
    double psf_moffat_beta = 3.5;
    std::vector<double> psf_weights;    ///< for "mixture"
    std::vector<double> psf_sigmas_px;  ///< for "mixture"
};

void describe(ConfigVisitor& visitor, GenericImageConfig& config);

/// Reads one image; `folder` is what relative paths start from. Background "estimate": a bilinear mesh of sigma-clipped
/// medians (boxes of 128 px), sources do not raise it by more than the clipping leaves.
/// @throws FitsError, DataError, ConfigError, each naming the file or key.
[[nodiscard]] Frame read_generic_frame(const GenericImageConfig& config, const std::filesystem::path& folder, FieldId id);

}  // namespace bliss::survey
