#pragma once

#include "bliss/h5/file.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace bliss::test {

#pragma pack(push, 1)
/// A row with every kind of member.
struct ExampleRow {
    std::int64_t id;
    std::int32_t small;
    char name[6];
    double value;
    double corners[3];
    std::uint32_t flags;
};
#pragma pack(pop)

using Type = h5::Member::Type;

inline constexpr h5::Member k_example_members[] = {
    {"id", Type::i64, offsetof(ExampleRow, id), 1, "", "number of the row"},
    {"small", Type::i32, offsetof(ExampleRow, small), 1, "", "a negative number"},
    {"name", Type::text, offsetof(ExampleRow, name), 6, "", "a name"},
    {"value", Type::f64, offsetof(ExampleRow, value), 1, "px", "a value"},
    {"corners", Type::f64, offsetof(ExampleRow, corners), 3, "deg", "an array"},
    {"flags", Type::u32, offsetof(ExampleRow, flags), 1, "", "bits"},
};

inline ExampleRow example_row(std::int64_t id) {
    ExampleRow row{};
    row.id = id;
    row.small = static_cast<std::int32_t>(-id);
    std::snprintf(row.name, sizeof row.name, "r%lld", static_cast<long long>(id % 1000));
    row.value = 0.1 * static_cast<double>(id);
    for (int i = 0; i < 3; ++i) row.corners[i] = static_cast<double>(id) + 0.25 * i;
    row.flags = 0x80000000u + static_cast<std::uint32_t>(id);
    return row;
}

inline bool same(const ExampleRow& a, const ExampleRow& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

/// Writes `rows` rows, dealt out in blocks of `block` to the ranks in turn: every rank's share is in pieces.
inline void write_example(h5::File& file, const comm::Communicator& comm, std::int64_t rows, std::int64_t block) {
    std::vector<h5::RowRange> ranges;
    std::vector<ExampleRow> mine;
    for (std::int64_t first = 0; first < rows; first += block) {
        if (first / block % comm.size() != comm.rank()) continue;
        ranges.push_back({first, std::min(block, rows - first)});
        for (std::int64_t id = first; id < first + ranges.back().count; ++id) mine.push_back(example_row(id));
    }
    file.create_rows("rows", k_example_members, rows);
    file.write_rows("rows", k_example_members, ranges, std::as_bytes(std::span{mine}));
    file.write_attribute("/", "schema_version", std::int64_t{7});
    file.write_attribute("/", "text", std::string_view{"a longer text,\nof two lines"});
    file.write_attribute("/", "empty", std::string_view{});
    file.write_attribute("rows", "number", 0.1);
}

}  // namespace bliss::test
