#include "bliss/core/ids.hpp"

#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace bliss {

std::string to_string(const FieldId& id) { return fmt::format("{}-{}-{}", id.run, id.camcol, id.field); }

FieldPattern parse_field_pattern(const std::string& text) {
    FieldPattern pattern;
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto fail = [&] {
        throw ConfigError(
            fmt::format("'{}' names no fields: give RUN-CAMCOL-FIELD, each a number, a range or *, for example 94-1-12, "
                        "94-1-11:40 or 94-*-*",
                        text));
    };
    const auto number = [&] {
        std::int32_t value = 0;
        const auto [stop, status] = std::from_chars(at, end, value);
        if (status != std::errc{} || value < 0) fail();
        at = stop;
        return value;
    };
    for (std::int32_t FieldId::* part : {&FieldId::run, &FieldId::camcol, &FieldId::field}) {
        if (part != &FieldId::run) {
            if (at == end || *at != '-') fail();
            ++at;
        }
        if (at != end && *at == '*') {
            ++at;
            pattern.high.*part = std::numeric_limits<std::int32_t>::max();
            continue;
        }
        pattern.low.*part = pattern.high.*part = number();
        if (at == end || *at != ':') continue;
        ++at;
        pattern.high.*part = number();
        if (pattern.high.*part < pattern.low.*part) fail();
    }
    if (at != end) fail();
    return pattern;
}

FieldId parse_field_id(const std::string& text) {
    const auto fail = [&] { throw ConfigError(fmt::format("'{}' is no field: give RUN-CAMCOL-FIELD, for example 94-1-12", text)); };
    if (text.find_first_of("*:") != std::string::npos) fail();
    try {
        return parse_field_pattern(text).low;
    } catch (const ConfigError&) {
        fail();
        throw;
    }
}

}  // namespace bliss
