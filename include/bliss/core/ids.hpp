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

/// Position of a tile on the tile grid; row 0, col 0 holds pixel (0, 0).
struct TileIndex {
    std::int32_t row = 0;
    std::int32_t col = 0;

    auto operator<=>(const TileIndex&) const = default;
};

}  // namespace bliss
