#include "bliss/shard/journal.hpp"

#include "bliss/core/check.hpp"
#include "bliss/core/checksum.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/io_advice.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <system_error>

namespace bliss::shard {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view k_magic = "bliss-journal 2\n";
constexpr std::uint64_t k_record_mark = 0x64726F6365724C42;  // "BLrecord"

#pragma pack(push, 1)
/// What stands before a record's sections. The identity's record has one section and no field.
struct RecordHeader {
    std::uint64_t mark = k_record_mark;
    std::uint64_t checksum = 0;  ///< of what follows
    std::int32_t run = 0, camcol = 0, field = 0, status = 0;
    std::uint64_t section_checksum[k_sections] = {};
    std::int64_t section_bytes[k_sections] = {};
};
#pragma pack(pop)

/// Of all of a header but its mark and the checksum itself.
std::uint64_t checksum_of(const RecordHeader& header) {
    constexpr std::size_t k_before = sizeof header.mark + sizeof header.checksum;
    return checksum(std::as_bytes(std::span{&header, 1}).subspan(k_before));
}

std::string text_of(const JournalIdentity& identity) {
    return fmt::format("configuration {}\nmodel {}\nprogram {}\nimages {}\n", identity.configuration_sha256, identity.model_sha256,
                       identity.program, identity.fields.empty() ? "none" : identity.fields);
}

[[noreturn]] void fail(const fs::path& path, std::string_view operation) {
    const int reason = errno;
    throw IoError(fmt::format("{}: the journal cannot be {}: {}{}; what is in it is kept for the next run", path.string(), operation,
                              std::generic_category().message(reason), io_advice(reason)));
}

/// A file open for reading.
class Reader {
public:
    explicit Reader(const fs::path& path) : path_{path}, descriptor_{::open(path.c_str(), O_RDONLY | O_CLOEXEC)} {
        if (descriptor_ < 0) fail(path_, "opened");
        size_ = ::lseek(descriptor_, 0, SEEK_END);
        if (size_ < 0) fail(path_, "read");
    }
    ~Reader() { ::close(descriptor_); }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    [[nodiscard]] std::int64_t size() const { return size_; }

    /// @return whether all of it is there
    bool read(std::int64_t offset, std::span<std::byte> out) const {
        while (!out.empty()) {
            const ssize_t count = ::pread(descriptor_, out.data(), out.size(), offset);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) fail(path_, "read");
            if (count == 0) return false;
            out = out.subspan(static_cast<std::size_t>(count));
            offset += count;
        }
        return true;
    }

    /// The record whose header is at an offset, where it is whole but for what its sections hold.
    [[nodiscard]] std::optional<JournalEntry> entry_at(std::int64_t offset) const {
        RecordHeader header;
        if (!read(offset, std::as_writable_bytes(std::span{&header, 1}))) return {};
        if (header.mark != k_record_mark || header.checksum != checksum_of(header)) return {};
        JournalEntry entry{
            {header.run, header.camcol, header.field}, header.status, offset + static_cast<std::int64_t>(sizeof header), {}, {}};
        std::int64_t left = size_ - entry.offset;
        for (std::size_t k = 0; k < k_sections; ++k) {
            entry.bytes[k] = header.section_bytes[k];
            entry.checksum[k] = header.section_checksum[k];
            if (entry.bytes[k] < 0 || entry.bytes[k] > left) return {};
            left -= entry.bytes[k];
        }
        return entry;
    }

    /// The record at an offset or, after damage, the next one behind it; nothing where there is none.
    [[nodiscard]] std::optional<JournalEntry> next_record(std::int64_t offset) const {
        if (auto entry = entry_at(offset)) return entry;
        constexpr std::int64_t k_chunk = 1 << 20;
        const auto mark = std::as_bytes(std::span{&k_record_mark, 1});
        // Chunks overlap by less than a mark, so that none is missed between two.
        for (; offset < size_; offset += k_chunk) {
            std::vector<std::byte> chunk(static_cast<std::size_t>(std::min(k_chunk + std::ssize(mark) - 1, size_ - offset)));
            if (!read(offset, chunk)) return {};
            for (auto at = chunk.begin(); (at = std::search(at, chunk.end(), mark.begin(), mark.end())) != chunk.end(); ++at) {
                if (auto entry = entry_at(offset + (at - chunk.begin()))) return entry;
            }
        }
        return {};
    }

    /// Reads a section. @return whether it is as it was written
    bool section(const JournalEntry& entry, std::size_t which, std::span<std::byte> out) const {
        std::int64_t offset = entry.offset;
        for (std::size_t k = 0; k < which; ++k) offset += entry.bytes[k];
        return read(offset, out) && checksum(out) == entry.checksum[which];
    }
    [[nodiscard]] std::optional<std::vector<std::byte>> section(const JournalEntry& entry, std::size_t which) const {
        std::vector<std::byte> bytes(static_cast<std::size_t>(entry.bytes[which]));
        return section(entry, which, bytes) ? std::optional{std::move(bytes)} : std::nullopt;
    }

private:
    fs::path path_;
    int descriptor_;
    std::int64_t size_ = 0;
};

std::int64_t end_of(const JournalEntry& entry) {
    std::int64_t end = entry.offset;
    for (const std::int64_t bytes : entry.bytes) end += bytes;
    return end;
}

bool begins_as_journal(const Reader& file) {
    std::array<char, k_magic.size()> magic{};
    return file.read(0, std::as_writable_bytes(std::span{magic})) && std::string_view{magic.data(), magic.size()} == k_magic;
}

}  // namespace

JournalWriter::JournalWriter(const fs::path& path, const JournalIdentity& identity)
    : path_{path}, descriptor_{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644)} {
    if (descriptor_ < 0 && errno == EEXIST) {
        throw IoError(fmt::format("{}: is there already: another run is at work in this folder; wait for its end, or give another --output",
                                  path_.string()));
    }
    if (descriptor_ < 0) fail(path_, "created");
    try {
        const std::string text = text_of(identity);
        write(std::as_bytes(std::span{k_magic}));
        append({}, 0, {std::as_bytes(std::span{text}), {}, {}});
        // The file's name, too.
        const int folder = ::open(path.parent_path().empty() ? "." : path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const bool synced = folder >= 0 && ::fsync(folder) == 0;
        if (folder >= 0) ::close(folder);
        if (!synced) fail(path_, "synced to disk");
    } catch (...) {
        ::close(descriptor_);
        throw;
    }
}

JournalWriter::~JournalWriter() { ::close(descriptor_); }

void JournalWriter::append(const FieldId& id, std::int32_t status, const std::array<std::span<const std::byte>, k_sections>& sections) {
    RecordHeader header{.run = id.run, .camcol = id.camcol, .field = id.field, .status = status};
    std::vector<std::byte> record(sizeof header);
    for (std::size_t k = 0; k < k_sections; ++k) {
        header.section_checksum[k] = checksum(sections[k]);
        header.section_bytes[k] = std::ssize(sections[k]);
        record.insert(record.end(), sections[k].begin(), sections[k].end());
    }
    header.checksum = checksum_of(header);
    std::memcpy(record.data(), &header, sizeof header);
    write(record);
    sync();
}

void JournalWriter::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) fail(path_, "written");
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
}

void JournalWriter::sync() {
    if (::fdatasync(descriptor_) != 0) fail(path_, "synced to disk");
}

JournalContent scan_journal(const fs::path& path) {
    const Reader file{path};
    JournalContent content;
    const bool whole = file.size() >= std::ssize(k_magic);
    if (whole && !begins_as_journal(file)) {
        throw DataError(fmt::format("{}: is no journal of this program; remove it, or give another --output", path.string()));
    }
    const std::optional<JournalEntry> first = whole ? file.entry_at(std::ssize(k_magic)) : std::nullopt;
    const std::optional<std::vector<std::byte>> text = first ? file.section(*first, 0) : std::nullopt;
    if (!text) {  // ended before it began
        content.torn_bytes = file.size();
        return content;
    }
    content.identity.assign(reinterpret_cast<const char*>(text->data()), text->size());
    std::int64_t offset = end_of(*first);
    while (const std::optional<JournalEntry> entry = file.next_record(offset)) {
        content.damaged_bytes += entry->offset - static_cast<std::int64_t>(sizeof(RecordHeader)) - offset;
        content.entries.push_back(*entry);
        offset = end_of(*entry);
    }
    if (!content.entries.empty()) {
        const JournalEntry& last = content.entries.back();
        for (std::size_t k = 0; k < k_sections; ++k) {
            if (file.section(last, k)) continue;
            offset = last.offset - static_cast<std::int64_t>(sizeof(RecordHeader));
            content.entries.pop_back();
            break;
        }
    }
    content.torn_bytes = file.size() - offset;
    return content;
}

JournalContent scan_journal(const fs::path& path, const JournalIdentity& identity) {
    JournalContent content = scan_journal(path);
    const std::string wanted = text_of(identity);
    if (content.identity.empty() || content.identity == wanted) return content;
    std::string ours = wanted, theirs = content.identity;
    for (std::string* const lines : {&ours, &theirs}) {
        if (!lines->empty()) lines->pop_back();
        for (std::size_t at = 0; (at = lines->find('\n', at)) != std::string::npos;) lines->replace(at, 1, ", ");
    }
    throw ConfigError(
        fmt::format("{}: is the journal of another run ({}), this one is {}; go on with that configuration, model and program, start "
                    "over with --fresh, or give another --output",
                    path.string(), theirs, ours));
}

bool is_journal(const fs::path& path) { return begins_as_journal(Reader{path}); }

void read_section(const fs::path& path, const JournalEntry& entry, std::size_t section, std::span<std::byte> out) {
    BLISS_EXPECT(std::ssize(out) == entry.bytes[section], "there is room for the section");
    if (Reader{path}.section(entry, section, out)) return;
    throw DataError(
        fmt::format("{}: field {} at byte {} is not as it was written: the disk has damaged it; remove the file and run again, "
                    "which computes its fields anew",
                    path.string(), to_string(entry.id), entry.offset));
}

}  // namespace bliss::shard
