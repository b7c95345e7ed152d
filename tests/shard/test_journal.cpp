#include "bliss/shard/journal.hpp"

#include "bliss/core/error.hpp"
#include "bliss/shard/journal_folder.hpp"
#include "support/temporary_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <numeric>

namespace {

using namespace bliss;
using namespace bliss::shard;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

const JournalIdentity k_identity{"aaaa", "bbbb", "0.3.0, rows of 10 bytes"};

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span{text}); }

std::string read(const std::filesystem::path& path, const JournalEntry& entry, std::size_t section) {
    std::string out(static_cast<std::size_t>(entry.bytes[section]), '\0');
    read_section(path, entry, section, std::as_writable_bytes(std::span{out}));
    return out;
}

/// Sections of field k; of some, some are empty.
std::array<std::string, k_sections> sections(int k) {
    return {"field " + std::to_string(k), std::string(static_cast<std::size_t>(k % 3 * 500), static_cast<char>('a' + k)),
            k % 2 ? "draws" : "", k % 2 ? "" : "tiles", std::string(static_cast<std::size_t>(k), 'p')};
}

void append(JournalWriter& journal, int k, std::int32_t status = 0) {
    const auto of_field = sections(k);
    std::array<std::span<const std::byte>, k_sections> parts;
    std::ranges::transform(of_field, parts.begin(), [](const std::string& text) { return bytes(text); });
    journal.append({94, 1, k}, status, parts);
}

void write_journal(const std::filesystem::path& path, int fields) {
    JournalWriter journal{path, k_identity};
    for (int k = 0; k < fields; ++k) append(journal, k);
}

std::string contents(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

void put(const std::filesystem::path& path, const std::string& content) { std::ofstream{path, std::ios::binary} << content; }

}  // namespace

TEST_CASE("a journal gives back its records, section by section") {
    const test::TemporaryFolder folder;
    const auto path = folder.path() / "a.journal";
    write_journal(path, 7);
    const JournalContent content = scan_journal(path, k_identity);
    CHECK(content.torn_bytes == 0);
    REQUIRE(content.entries.size() == 7);
    for (int k = 0; k < 7; ++k) {
        const JournalEntry& entry = content.entries[static_cast<std::size_t>(k)];
        CHECK(entry.id == FieldId{94, 1, k});
        CHECK(entry.status == 0);
        for (std::size_t section = 0; section < k_sections; ++section) CHECK(read(path, entry, section) == sections(k)[section]);
    }
    CHECK_THROWS_MATCHES(JournalWriter(path, k_identity), IoError, MessageMatches(ContainsSubstring("another run is at work")));
}

TEST_CASE("a journal that was cut off at any byte holds the records before it, whole") {
    const test::TemporaryFolder folder;
    const auto path = folder.path() / "a.journal", cut = folder.path() / "cut.journal";
    write_journal(path, 4);
    const std::string whole = contents(path);
    std::vector<std::int64_t> ends;  // of records
    for (const JournalEntry& entry : scan_journal(path, k_identity).entries)
        ends.push_back(std::accumulate(entry.bytes.begin(), entry.bytes.end(), entry.offset));
    REQUIRE(ends.back() == std::ssize(whole));
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        put(cut, whole.substr(0, size));
        const JournalContent content = scan_journal(cut, k_identity);
        const auto expected = std::ranges::count_if(ends, [&](std::int64_t end) { return end <= static_cast<std::int64_t>(size); });
        REQUIRE(std::ssize(content.entries) == expected);
        const std::int64_t kept = expected > 0 ? ends[static_cast<std::size_t>(expected) - 1] : 0;
        REQUIRE((expected == 0 || content.torn_bytes == static_cast<std::int64_t>(size) - kept));
        for (const JournalEntry& entry : content.entries)
            for (std::size_t section = 0; section < k_sections; ++section) REQUIRE_NOTHROW(read(cut, entry, section));
    }
}

TEST_CASE("the last record is looked at whole, since its bytes may have been lost with the machine") {
    const test::TemporaryFolder folder;
    const auto path = folder.path() / "a.journal";
    write_journal(path, 3);
    const std::string whole = contents(path);
    const JournalEntry last = scan_journal(path, k_identity).entries.back();
    for (std::int64_t at = last.offset; at < std::ssize(whole); at += 97) {
        std::string zeros = whole;
        for (std::size_t k = static_cast<std::size_t>(at); k < zeros.size(); ++k) zeros[k] = '\0';
        put(path, zeros);
        CHECK(scan_journal(path, k_identity).entries.size() == 2);
    }
}

TEST_CASE("a record that the disk has damaged is named") {
    const test::TemporaryFolder folder;
    const auto path = folder.path() / "a.journal";
    write_journal(path, 3);
    std::string damaged = contents(path);
    const JournalEntry middle = scan_journal(path, k_identity).entries[1];
    damaged[static_cast<std::size_t>(middle.offset + middle.bytes[0] + 5)] ^= 1;
    put(path, damaged);
    REQUIRE(scan_journal(path, k_identity).entries.size() == 3);
    CHECK(read(path, middle, 0) == sections(1)[0]);
    CHECK_THROWS_MATCHES(read(path, middle, 1), DataError,
                         MessageMatches(ContainsSubstring("a.journal") && ContainsSubstring("94-1-1") && ContainsSubstring("damaged")));
}

TEST_CASE("a journal of another run is refused with both identities, another file by its name") {
    const test::TemporaryFolder folder;
    const auto path = folder.path() / "a.journal";
    write_journal(path, 1);
    for (const JournalIdentity& other : {JournalIdentity{"cccc", "bbbb", k_identity.program},
                                         JournalIdentity{"aaaa", "dddd", k_identity.program}, JournalIdentity{"aaaa", "bbbb", "0.4.0"}}) {
        CHECK_THROWS_MATCHES(
            scan_journal(path, other), ConfigError,
            MessageMatches(ContainsSubstring("configuration aaaa, model bbbb, program 0.3.0") &&
                           ContainsSubstring("configuration " + other.configuration_sha256 + ", model " + other.model_sha256) &&
                           ContainsSubstring("--fresh")));
    }
    put(path, "this is not a journal at all");
    CHECK_THROWS_MATCHES(scan_journal(path, k_identity), DataError, MessageMatches(ContainsSubstring("a.journal: is no journal")));
    CHECK_THROWS_AS(scan_journal(folder.path() / "absent.journal", k_identity), IoError);
}

TEST_CASE("a folder's journals count by attempt, and go together") {
    const test::TemporaryFolder folder;
    const JournalFolder journals{folder.path() / "journal", k_identity};
    CHECK(journals.scan().entries.empty());
    CHECK(journals.scan().next_attempt == 1);
    append(*journals.open(1, 0), 3, 1);
    append(*journals.open(1, 1), 4);
    append(*journals.open(2, 0), 3);
    put(folder.path() / "journal" / "notes.txt", "not a journal");
    const JournalFolder::Scan scan = journals.scan();
    CHECK(scan.next_attempt == 3);
    REQUIRE(scan.entries.size() == 2);
    const LocatedEntry& again = scan.entries.at({94, 1, 3});
    CHECK(again.entry.status == 0);  // the later attempt's
    CHECK(read(journals.path_of(scan.names[static_cast<std::size_t>(again.journal)]), again.entry, 0) == "field 3");
    CHECK_FALSE(journals.is_complete());
    journals.mark_complete();
    CHECK(journals.is_complete());
    CHECK(journals.scan().entries.size() == 2);
    journals.remove();
    CHECK_FALSE(journals.is_complete());
    CHECK(journals.scan().entries.empty());
    CHECK(std::filesystem::exists(folder.path() / "journal" / "notes.txt"));
    std::filesystem::remove(folder.path() / "journal" / "notes.txt");
    journals.remove();
    CHECK_FALSE(std::filesystem::exists(folder.path() / "journal"));
}

TEST_CASE("damage to a record's head costs that record, not those after it") {
    const test::TemporaryFolder folder;
    const auto path = folder.path() / "a.journal";
    write_journal(path, 5);
    const auto entries = scan_journal(path, k_identity).entries;
    std::string damaged = contents(path);
    const auto head = static_cast<std::size_t>(std::accumulate(entries[1].bytes.begin(), entries[1].bytes.end(), entries[1].offset));
    damaged[head + 20] ^= 1;  // of the third
    put(path, damaged);
    const JournalContent content = scan_journal(path, k_identity);
    REQUIRE(content.entries.size() == 4);
    CHECK(content.entries[2].id == entries[3].id);
    CHECK(read(path, content.entries[2], 0) == sections(3)[0]);
    CHECK(content.damaged_bytes > 0);
    CHECK(content.torn_bytes == 0);
    // Torn besides: the end is still told apart.
    put(path, damaged.substr(0, damaged.size() - 1));
    CHECK(scan_journal(path, k_identity).entries.size() == 3);
    CHECK(scan_journal(path, k_identity).torn_bytes > 0);
}
