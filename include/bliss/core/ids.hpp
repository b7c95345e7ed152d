#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace bliss {

/// Identity of one field of a survey: SDSS imaging run, camera column (1-6) and field number.
/// A generic image has run = camcol = 0 and its position in the list as field.
struct FieldId {
    std::int32_t run = 0;
    std::int32_t camcol = 0;
    std::int32_t field = 0;

    auto operator<=>(const FieldId&) const = default;
};

/// "94-1-12".
[[nodiscard]] std::string to_string(const FieldId& id);

/// Reads "94-1-12". @throws ConfigError when the text is not three non-negative numbers joined by '-'.
[[nodiscard]] FieldId parse_field_id(const std::string& text);

/// Fields named together: of run, camcol and field each a number, a range "11:40" with both its ends, or "*" for any.
struct FieldPattern {
    FieldId low, high;

    [[nodiscard]] bool matches(const FieldId& id) const {
        const auto within = [](std::int32_t x, std::int32_t from, std::int32_t to) { return x >= from && x <= to; };
        return within(id.run, low.run, high.run) && within(id.camcol, low.camcol, high.camcol) && within(id.field, low.field, high.field);
    }
    /// Whether it names one field.
    [[nodiscard]] bool single() const { return low == high; }
};

/// Reads "94-1-12", "94-1-11:40", "94-*-*". @throws ConfigError
[[nodiscard]] FieldPattern parse_field_pattern(const std::string& text);

/// Position of a tile on the tile grid; row 0, col 0 holds pixel (0, 0).
struct TileIndex {
    std::int32_t row = 0;
    std::int32_t col = 0;

    auto operator<=>(const TileIndex&) const = default;
};

}  // namespace bliss
