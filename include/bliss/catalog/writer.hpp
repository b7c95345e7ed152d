#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/comm/communicator.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

namespace bliss::catalog {

/// One field as its rank holds it: where it stands among all fields (the row of /fields), and how many sources it has.
struct LocalField {
    std::int64_t index = 0;
    std::int64_t source_count = 0;
    std::int64_t sample_count = 0;   ///< rows of /samples, over all draws
    std::int64_t tile_count = 0;     ///< rows of /tiles
};

/// Give the rows of the i-th local field, as many as were announced. Each is called once for each field, in the order of `index`,
/// so a rank can read them from its journal when they are wanted. The writer sets field_index, and where a field's rows begin and how
/// many there are.
struct RowLoaders {
    std::function<FieldRow(std::size_t i)> field;
    std::function<std::vector<SourceRow>(std::size_t i)> sources;
    std::function<std::vector<SampleRow>(std::size_t i)> samples;   ///< not called where no field has samples
    std::function<std::vector<TileRow>(std::size_t i)> tiles;       ///< not called where no field has tiles
};

/// How many rows of /catalog are in the mode catalogue; also attributes of it.
struct ModeCounts {
    std::int64_t rows = 0;
    std::int64_t primary = 0;  ///< of these, where their field owns their place
};

/// Writes one catalogue of all ranks' fields: /fields in the order of `index`; /catalog and, where there are any, /samples and /tiles field
/// by field in that order; /sky, where rows of /catalog lie on the sky (sky_index.hpp).
/// The bytes are the same whichever rank holds which field. The file appears under `path` complete or not at all.
///
/// Cost: one pass over the rows; memory for `round_bytes` of rows a rank, or one field's if that is more; on rank 0 also /sky, 24 bytes for
/// each HEALPix pixel that a field touches.
/// @collective Over `comm`. Each field is on exactly one rank, and the indices of all ranks are 0 ... fields - 1.
/// @throws DataError when an index is missing or doubled or a loader gives another number of rows, H5Error or IoError when
/// the file cannot be written, and whatever a loader throws: the same on all ranks.
ModeCounts write_catalog(const std::filesystem::path& path, const comm::Communicator& comm, std::vector<LocalField> fields,
                         const RowLoaders& load, const Provenance& provenance, std::int64_t round_bytes = std::int64_t{64} << 20);

/// The same for a catalogue that one process holds: its fields and sources are taken as they stand, apart from indices and
/// counts. @throws DataError also when a field's first_source and source_count do not lie within the sources.
void write_catalog(const std::filesystem::path& path, const Catalog& catalog);

}  // namespace bliss::catalog
