#pragma once

#include "bliss/catalog/schema.hpp"

#include <filesystem>

namespace bliss::catalog {

/// Which sources are exported, and how DS9 draws them.
struct ExportOptions {
    double min_p_source = 0;         ///< sources less probable than this are left out
    bool primary_only = true;        ///< so are those that another, overlapping field owns

    [[nodiscard]] bool wants(const SourceRow& source) const {
        return source.p_source >= min_p_source && (source.primary != 0 || !primary_only);
    }
    double ds9_radius_px = 3;        ///< circles in image coordinates
    double ds9_radius_arcsec = 1.2;  ///< circles on the sky
};

/// Each export is written as PATH.partial and then renamed. The sources keep their order; `field_index` stays a row of
/// /fields.

/// FITS binary tables CATALOG and FIELDS with TUNIT; first_source and source_count of FIELDS count the exported rows; array
/// members become columns NAME_0, NAME_1, ...
/// @throws FitsError
void export_fits(const Catalog& catalog, const std::filesystem::path& path, const ExportOptions& options = {});

/// Sources as comma-separated values, names in the first line; numbers read back to the same value, NaN is "nan".
/// @throws IoError
void export_csv(const Catalog& catalog, const std::filesystem::path& path, const ExportOptions& options = {});

/// A DS9 region file: stars cyan, galaxies magenta (p_star at least, or less than, 1/2). In icrs where every source has sky
/// coordinates, otherwise in image coordinates, which in DS9 start at 1. @throws IoError
void export_ds9(const Catalog& catalog, const std::filesystem::path& path, const ExportOptions& options = {});

}  // namespace bliss::catalog
