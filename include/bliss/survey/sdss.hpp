#pragma once

#include "bliss/survey/frame.hpp"

#include <filesystem>
#include <string>

namespace bliss::survey {

/// One SDSS field, and where its files are.
struct SdssField {
    std::filesystem::path folder;  ///< see SdssTree
    FieldId id;
    std::string band;           ///< one of u g r i z
    std::string rerun = "301";  ///< of the archive's folders
};

/// Reads frame-B-RRRRRR-C-FFFF.fits (also .bz2, .gz), psField, photoField and, where it is there, the fpM mask.
/// electrons = (image / calib + sky) * gain, plus the dark variance (Frame); masked: the planes SATUR, CR, INTERP and, 8 px
/// inside the edge, NOTCHECKED (src/survey/sdss_mask.hpp says why), and NaN. A missing fpM file is warned of.
/// @throws FitsError or DataError naming the file and HDU: a missing or truncated file, another shape than the sky and
/// calibration say, all pixels NaN, no psField row for the band.
[[nodiscard]] Frame read_sdss_frame(const SdssField& field);

}  // namespace bliss::survey
