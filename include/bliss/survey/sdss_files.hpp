#pragma once

#include "bliss/core/ids.hpp"
#include "bliss/core/image.hpp"
#include "bliss/survey/psf.hpp"
#include "bliss/survey/wcs.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace bliss::survey {

/// gamma_n as a plane, electrons per pixel, detector variance included (as Frame::background_e).
struct SkyPlane {
    double centre_e = 0;
    double slope_x = 0;  ///< change from the first column to the last, as a share of the centre
    double slope_y = 0;  ///< change from the first row to the last

    [[nodiscard]] double at(std::int64_t row, std::int64_t col, std::int64_t height, std::int64_t width) const;
};

/// What a camera column's detector adds. @source photoField: GAIN, DARK_VARIANCE.
struct SdssDetector {
    double gain_e_per_count = 0;
    double dark_variance_counts2 = 0;
};

/// One band of one field as SDSS observes it: what its files are written from.
struct SdssExposure {
    FieldId id;
    std::string band;
    Image<float> electrons;             ///< (H, W) as Frame::electrons
    Image<std::uint8_t> valid;          ///< (H, W) 0: what the mask file marks
    SkyPlane sky;
    SdssDetector detector;
    std::vector<float> nmgy_per_count;  ///< (W) calibration of each column
    Psf::SdssParameters psf;
    Wcs wcs;
};

/// These write what read_sdss_frame reads, laid out as SDSS lays it out: the image in nanomaggies without its sky, the calibration, the sky
/// on a grid of 192 x 256; the PSF of all five bands the same, as parameters and as one eigen-image; bad pixels in the plane
/// S_MASK_INTERP. Folders above are made. @throws FitsError, IoError
void write_sdss_frame(const std::filesystem::path& path, const SdssExposure& exposure);
void write_sdss_psf(const std::filesystem::path& path, const SdssExposure& exposure);   ///< psField
void write_sdss_mask(const std::filesystem::path& path, const SdssExposure& exposure);  ///< fpM
/// photoField of a run's camera column: one row a field, first.field to first.field + fields - 1.
void write_sdss_detector(const std::filesystem::path& path, const FieldId& first, std::int64_t fields, const SdssDetector& detector);

}  // namespace bliss::survey
