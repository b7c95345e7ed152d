#pragma once

#include "bliss/core/ids.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bliss::shard {

/// What the records of a journal were made with: others must not stand beside them.
struct JournalIdentity {
    std::string configuration_sha256;
    std::string model_sha256;
    std::string program;   ///< version, and layout of the records
    std::string fields{};  ///< what the fields' numbers mean, where they might mean others

    bool operator==(const JournalIdentity&) const = default;
};

/// Parts of a record, each with a checksum of its own so that one can be read without the others.
inline constexpr std::size_t k_sections = 5;

/// Where a field's record stands in its journal.
struct JournalEntry {
    FieldId id;
    std::int32_t status = 0;  ///< 0 done; anything else: to be tried again
    std::int64_t offset = 0;  ///< of the first section, bytes
    std::array<std::int64_t, k_sections> bytes{};
    std::array<std::uint64_t, k_sections> checksum{};
};

/// An append-only file of finished fields that a kill at any moment leaves readable: a record is there whole or not at all.
///
/// The file begins with 16 bytes of magic and a record of its identity; each field's record is a header with checksums of itself and
/// of its sections, then the sections.
class JournalWriter {
public:
    /// Makes the file, which must not be there yet. @throws IoError
    JournalWriter(const std::filesystem::path& path, const JournalIdentity& identity);
    ~JournalWriter();
    JournalWriter(const JournalWriter&) = delete;
    JournalWriter& operator=(const JournalWriter&) = delete;

    /// Appends a field's record and waits until it is on the disk. After an error nothing more is to be appended.
    /// @throws IoError as when the disk is full
    void append(const FieldId& id, std::int32_t status, const std::array<std::span<const std::byte>, k_sections>& sections);

private:
    void write(std::span<const std::byte> bytes);
    void sync();

    std::filesystem::path path_;
    int descriptor_;
};

/// The whole records of a journal.
struct JournalContent {
    std::string identity;  ///< as lines of text; empty where the file ended before it
    std::vector<JournalEntry> entries;
    std::int64_t torn_bytes = 0;     ///< at the end, of what was not written whole
    std::int64_t damaged_bytes = 0;  ///< before that, of records that the disk has damaged
};

/// Lists a journal's records. Headers are read, and the sections of the last record: those of others were on the disk before it began.
/// @throws ConfigError where it is of another identity, with both; DataError where it is no journal; IoError.
[[nodiscard]] JournalContent scan_journal(const std::filesystem::path& path, const JournalIdentity& identity);

/// The same of a journal of any identity. @throws DataError, IoError
[[nodiscard]] JournalContent scan_journal(const std::filesystem::path& path);

/// Whether a file begins as a journal does. @throws IoError where it cannot be read
[[nodiscard]] bool is_journal(const std::filesystem::path& path);

/// Reads one section of a record into memory of its size. @throws DataError where its checksum is another, because the disk has damaged
/// it; IoError.
void read_section(const std::filesystem::path& path, const JournalEntry& entry, std::size_t section, std::span<std::byte> out);

}  // namespace bliss::shard
