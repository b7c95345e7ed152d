#pragma once

#include "bliss/shard/journal.hpp"

#include <map>
#include <memory>

namespace bliss::shard {

/// A field's record, and which journal of a folder it stands in.
struct LocatedEntry {
    std::int32_t journal = 0;  ///< place in JournalFolder::names
    JournalEntry entry;
};

/// The journals of all ranks and of all attempts at a run: folder/ATTEMPT-RANK.journal. No file is ever written to by two attempts.
class JournalFolder {
public:
    JournalFolder(std::filesystem::path folder, JournalIdentity identity) : folder_{std::move(folder)}, identity_{std::move(identity)} {}

    /// What the folder's journals hold; of a field that stands there twice, the later attempt's. Warns of torn ends.
    /// @throws ConfigError, DataError, IoError as scan_journal
    struct Scan {
        std::vector<std::string> names;  ///< of the files, by attempt and rank
        std::map<FieldId, LocatedEntry> entries;
        std::int32_t next_attempt = 1;
    };
    [[nodiscard]] Scan scan() const;

    /// This rank's journal of an attempt. @throws IoError
    [[nodiscard]] std::unique_ptr<JournalWriter> open(std::int32_t attempt, int rank) const;

    [[nodiscard]] std::filesystem::path path_of(const std::string& name) const { return folder_ / name; }

    /// Marks that a catalogue was made of all that is here: a run of another identity need not keep it. @throws IoError
    void mark_complete() const;
    [[nodiscard]] bool is_complete() const;
    /// Takes the mark away: from now on there is more here than was made into a catalogue. @throws IoError
    void unmark_complete() const;

    /// Removes all journals, and the folder where nothing else is in it. @throws IoError
    void remove() const;

private:
    [[nodiscard]] std::vector<std::string> names() const;

    std::filesystem::path folder_;
    JournalIdentity identity_;
};

}  // namespace bliss::shard
