#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/core/ids.hpp"
#include "bliss/survey/wcs.hpp"

#include <filesystem>

namespace bliss::catalog {

/// Reads a whole catalogue. Needs no MPI, like the others here.
/// @throws H5Error naming the file and what is absent: not HDF5, truncated, a missing dataset, member or attribute.
/// @throws DataError for another schema version, or fields whose ranges of rows do not fit the rows.
[[nodiscard]] Catalog read_catalog(const std::filesystem::path& path);

/// Reads one field of a catalogue of any size: its row, its sources, its joint draws and its tiles, found by a search in /fields, which is
/// sorted. field_index and the field's ranges of rows are those of the rows read.
/// @throws as read_catalog; DataError where there is no such field
[[nodiscard]] Catalog read_field(const std::filesystem::path& path, const FieldId& id);

/// Reads the sources within a cone, and the rows of their fields, by the index /sky; field_index and ranges as read_field. No draws, no
/// tiles.
/// @param radius_deg 0 to 180
/// @throws as read_catalog; DataError where no row has a place on the sky
[[nodiscard]] Catalog read_cone(const std::filesystem::path& path, survey::SkyPosition centre, double radius_deg);

/// What a catalogue says of itself without its rows.
struct Overview : Provenance {
    std::int64_t fields = 0;
    std::int64_t sources = 0;       ///< rows of /catalog
    std::int64_t mode = 0;          ///< of these, in the mode catalogue
    std::int64_t mode_primary = 0;  ///< of these, where their field owns their place
    std::int64_t samples = 0;
    std::int64_t tiles = 0;
};
[[nodiscard]] Overview read_overview(const std::filesystem::path& path);

/// Rows of /fields alone; as they stand in the file.
[[nodiscard]] std::vector<FieldRow> read_field_rows(const std::filesystem::path& path, std::int64_t first, std::int64_t count);

}  // namespace bliss::catalog
