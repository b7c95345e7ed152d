#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bliss::h5 {

/// Consecutive rows of a dataset.
struct RowRange {
    std::int64_t first = 0;
    std::int64_t count = 0;
};

/// One member of a row type: a packed struct whose memory layout is the file's layout.
struct Member {
    enum class Type { i32, i64, u32, f32, f64, text };
    std::string_view name;
    Type type;
    std::size_t offset;      ///< bytes from the start of the row
    std::size_t length;      ///< elements (1 but for arrays), or bytes of a text (padded with zeros)
    std::string_view unit;   ///< "px", "deg", "nmgy", "mag", "" = none
    std::string_view about;  ///< one sentence

    /// Bytes in the row.
    [[nodiscard]] constexpr std::size_t bytes() const {
        switch (type) {
            case Type::i32:
            case Type::u32:
            case Type::f32:
                return 4 * length;
            case Type::i64:
            case Type::f64:
                return 8 * length;
            case Type::text:
                return length;
        }
        return 0;
    }
};

/// Bytes of a packed row: the end of its last member. @throws H5Error when the members leave gaps or overlap: collective
/// writing needs the memory type to be the file's type.
[[nodiscard]] std::size_t packed_row_bytes(std::span<const Member> members);

}  // namespace bliss::h5
