#pragma once

#include "bliss/catalog/schema.hpp"

#include <filesystem>

namespace bliss::catalog {

/// Reads a whole catalogue. Needs no MPI.
/// @throws H5Error naming the file and what is absent: not HDF5, truncated, a missing dataset, member or attribute.
/// @throws DataError for another schema version, or fields whose source ranges do not fit the sources.
[[nodiscard]] Catalog read_catalog(const std::filesystem::path& path);

}  // namespace bliss::catalog
