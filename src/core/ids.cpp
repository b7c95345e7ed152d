#include "bliss/core/ids.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <charconv>

namespace bliss {

std::string to_string(const FieldId& id) { return fmt::format("{}-{}-{}", id.run, id.camcol, id.field); }

FieldId parse_field_id(const std::string& text) {
    std::int32_t parts[3] = {};
    const char* at = text.data();
    const char* const end = at + text.size();
    for (int i = 0; i < 3; ++i) {
        const auto [stop, status] = std::from_chars(at, end, parts[i]);
        const bool last = i == 2;
        const bool joined = last ? stop == end : (stop != end && *stop == '-');
        if (status != std::errc{} || parts[i] < 0 || !joined) {
            throw ConfigError(fmt::format("'{}' is no field: give RUN-CAMCOL-FIELD, for example 94-1-12", text));
        }
        at = last ? stop : stop + 1;
    }
    return {parts[0], parts[1], parts[2]};
}

}  // namespace bliss
