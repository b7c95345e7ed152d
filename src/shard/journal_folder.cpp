#include "bliss/shard/journal_folder.hpp"

#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>

namespace bliss::shard {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view k_suffix = ".journal";
constexpr const char* k_complete = "complete";

/// The attempt in a journal's name, 0 for another file's.
std::int32_t attempt_of(const std::string& name) {
    std::int32_t attempt = 0;
    const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), attempt);
    const bool named = status == std::errc{} && end != name.data() + name.size() && *end == '-' && name.ends_with(k_suffix);
    return named ? attempt : 0;
}

}  // namespace

std::vector<std::string> JournalFolder::names() const {
    std::vector<std::string> out;
    std::error_code status;
    for (fs::directory_iterator file{folder_, status}, end; !status && file != end; file.increment(status)) {
        std::string name = file->path().filename().string();
        if (attempt_of(name) > 0) out.push_back(std::move(name));
    }
    if (status && status != std::errc::no_such_file_or_directory) {
        throw IoError(
            fmt::format("{}: the journals cannot be listed ({}); check the path and permissions", folder_.string(), status.message()));
    }
    std::ranges::sort(out);  // numbers have leading zeros
    return out;
}

JournalFolder::Scan JournalFolder::scan() const {
    Scan scan;
    scan.names = names();
    for (std::size_t k = 0; k < scan.names.size(); ++k) {
        const JournalContent content = scan_journal(path_of(scan.names[k]), identity_);
        if (content.torn_bytes > 0) {
            spdlog::warn("{}: {} bytes at its end are of a field that was not finished", path_of(scan.names[k]).string(),
                         content.torn_bytes);
        }
        if (content.damaged_bytes > 0) {
            spdlog::warn("{}: {} bytes have been damaged by the disk; their fields are computed again", path_of(scan.names[k]).string(),
                         content.damaged_bytes);
        }
        for (const JournalEntry& entry : content.entries) {
            scan.entries.insert_or_assign(entry.id, LocatedEntry{static_cast<std::int32_t>(k), entry});
        }
        scan.next_attempt = std::max(scan.next_attempt, attempt_of(scan.names[k]) + 1);
    }
    return scan;
}

std::unique_ptr<JournalWriter> JournalFolder::open(std::int32_t attempt, int rank) const {
    create_output_folder(folder_);
    return std::make_unique<JournalWriter>(path_of(fmt::format("{:05}-{:06}{}", attempt, rank, k_suffix)), identity_);
}

void JournalFolder::mark_complete() const { write_file(path_of(k_complete), "A catalogue was made of all fields of these journals.\n"); }

bool JournalFolder::is_complete() const {
    std::error_code status;
    return fs::exists(path_of(k_complete), status);
}

void JournalFolder::unmark_complete() const {
    std::error_code status;
    if (!fs::remove(path_of(k_complete), status) && status && status != std::errc::no_such_file_or_directory) {
        throw IoError(fmt::format("{}: cannot be removed ({}); check permissions", path_of(k_complete).string(), status.message()));
    }
}

void JournalFolder::remove() const {
    std::error_code status;
    std::vector<std::string> files = names();
    files.emplace_back(k_complete);
    for (const std::string& name : files) {
        if (!fs::remove(path_of(name), status) && status) {
            throw IoError(fmt::format("{}: cannot be removed ({}); check permissions", path_of(name).string(), status.message()));
        }
    }
    fs::remove(folder_, status);  // stays where there is anything else in it
}

}  // namespace bliss::shard
