#pragma once

#include "bliss/catalog/schema.hpp"
#include "bliss/comm/communicator.hpp"
#include "bliss/inference/fields.hpp"
#include "bliss/shard/journal_folder.hpp"

#include <filesystem>
#include <vector>

namespace bliss::inference {

/// What a whole catalogue holds.
struct Totals {
    std::int64_t failed = 0;
    std::int64_t candidates = 0;
    std::int64_t sources = 0;  ///< in the mode catalogue, those that another field owns left out
    std::int64_t seen_again = 0;  ///< in the mode catalogue, in fields that do not own their place
};

/// Writes the catalogue of all fields from the journals: each rank reads and writes a run of fields that has about its share of the bytes.
/// Which ranks wrote the journals does not matter. Marks which rows are primary (catalog::Ownership). Memory of each rank beside what it
/// writes: about 270 bytes for each of all fields.
/// @param fields, found on rank 0: all fields in the order of /fields, and where their records are; every field has one
/// @throws DataError, IoError, H5Error on all ranks. @collective
Totals gather(const std::filesystem::path& path, const shard::JournalFolder& journals, const shard::JournalFolder::Scan& found,
              const FieldList& fields, const catalog::Provenance& provenance, const comm::Communicator& comm);

}  // namespace bliss::inference
