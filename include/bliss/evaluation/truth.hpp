#pragma once

#include "bliss/catalog/schema.hpp"

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace bliss::evaluation {

enum class TruthKind { star, galaxy, unknown };

/// One source that is known to be there.
struct TruthSource {
    double x_px = 0;
    double y_px = 0;
    double flux_nmgy = std::numeric_limits<double>::quiet_NaN();
    double mag = std::numeric_limits<double>::quiet_NaN();  ///< AB (Pogson)
    TruthKind kind = TruthKind::unknown;
    /// False: it is there but need not be found (fainter than what training labels; saturated; outside the survey's primary
    /// area). It is never counted as missed, and a detection of it is no false positive; calibration takes it for nothing.
    bool labelled = true;
    double half_light_radius_px = std::numeric_limits<double>::quiet_NaN();  ///< of a galaxy above the atmosphere, circularised
    double axis_ratio = std::numeric_limits<double>::quiet_NaN();            ///< minor to major axis
};

/// Columns of a table that is neither simulated truth nor PHOTO's. Positions are x and y, or ra and dec; brightness is mag
/// or flux. Empty: not given.
struct TruthColumns {
    std::string x{};  ///< px, 0 = centre of the first pixel
    std::string y{};
    std::string ra{};  ///< deg (ICRS)
    std::string dec{};
    std::string mag{};      ///< AB
    std::string flux{};     ///< nmgy
    std::string type{};     ///< a number
    double star_value = 1;  ///< value of `type` that means star; every other is a galaxy

    [[nodiscard]] bool given() const { return !x.empty() || !ra.empty(); }
};

/// Reads the truth for one field of a catalogue; which kind of file it is, the file itself says: an HDU named TRUTH (made by
/// `bliss-mpi simulate`), PHOTO's photoObj (columns OBJC_TYPE and ROWC), or any table with the columns given.
/// The field gives band and, for ra and dec, the corners on the sky.
/// @throws FitsError, DataError naming the file and the column that is absent; ConfigError when columns must be given.
[[nodiscard]] std::vector<TruthSource> read_truth(const std::filesystem::path& path, const catalog::FieldRow& field,
                                                  const TruthColumns& columns = {});

/// HDU TRUTH: columns X_PX, Y_PX, FLUX_NMGY, MAG, IS_STAR, LABELLED, and of galaxies R_HALF_PX, AXIS_RATIO.
[[nodiscard]] std::vector<TruthSource> read_simulated_truth(const std::filesystem::path& path);

/// PHOTO's catalogue of a frame, in one band (u, g, r, i or z): stars with PSFFLUX, galaxies with CMODELFLUX.
/// Parents (NCHILD > 0), BRIGHT duplicates and sky objects are left out. Rows that PHOTO did not resolve (THING_ID < 0),
/// saturated ones, ones of unknown type and ones without a positive flux are there but not labelled.
/// PHOTO counts pixel centres from 0.5; positions here count them from 0.
[[nodiscard]] std::vector<TruthSource> read_photo_obj(const std::filesystem::path& path, const std::string& band);

/// The first table HDU of a file, with the columns given.
[[nodiscard]] std::vector<TruthSource> read_table_truth(const std::filesystem::path& path, const catalog::FieldRow& field,
                                                        const TruthColumns& columns);

}  // namespace bliss::evaluation
