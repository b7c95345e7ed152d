#pragma once

#include "bliss/h5/file.hpp"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bliss::h5::detail {

/// Bytes that must stand in a file: where they start, how many, and their checksum.
struct WrittenBytes {
    std::int64_t start = 0;
    std::int64_t size = 0;
    std::uint64_t hash = 0;
};

/// What this process handed over for writing; read back after the file is closed. Needed because Open MPI's I/O layer prints
/// a failed write but, with several ranks, reports success (seen with Open MPI 4.1.4 on a file size limit).
class WriteRecord {
public:
    void add(std::int64_t start, std::span<const std::byte> bytes);

    /// @throws IoError when the file does not hold what was handed over.
    void verify(const std::filesystem::path& path) const;

private:
    std::vector<WrittenBytes> written_;
};

}  // namespace bliss::h5::detail
