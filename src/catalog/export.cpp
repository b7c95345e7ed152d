#include "bliss/catalog/export.hpp"

#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

namespace bliss::catalog {

namespace {

template <class T>
T value_at(const std::byte* row, std::size_t offset) {
    T value;
    std::memcpy(&value, row + offset, sizeof(T));
    return value;
}

/// Shortest text that reads back to the same number.
void append_number(std::string& out, double value) {
    char buffer[32];
    const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
    out.append(buffer, end);
}

void append_member(std::string& out, const Member& member, const std::byte* row) {
    switch (member.type) {
        case Member::Type::i32:
            out += std::to_string(value_at<std::int32_t>(row, member.offset));
            break;
        case Member::Type::i64:
            out += std::to_string(value_at<std::int64_t>(row, member.offset));
            break;
        case Member::Type::u32:
            out += std::to_string(value_at<std::uint32_t>(row, member.offset));
            break;
        case Member::Type::f32:
        case Member::Type::f64: {
            const double value =
                member.type == Member::Type::f32 ? value_at<float>(row, member.offset) : value_at<double>(row, member.offset);
            std::isnan(value) ? void(out += "nan") : append_number(out, value);
            break;
        }
        case Member::Type::text:
            throw Error("a source has no text members");
    }
}

bool has_sky(const Catalog& catalog) {
    for (const SourceRow& source : catalog.sources)
        if (!std::isfinite(source.ra_deg) || !std::isfinite(source.dec_deg)) return false;
    return true;
}

}  // namespace

void export_csv(const Catalog& catalog, const std::filesystem::path& path, const ExportOptions& options) {
    std::string text;
    for (const Member& member : source_members()) text.append(text.empty() ? "" : ",").append(member.name);
    text += '\n';
    for (const SourceRow& source : catalog.sources) {
        if (!options.wants(source)) continue;
        const auto* row = reinterpret_cast<const std::byte*>(&source);
        const char* separator = "";
        for (const Member& member : source_members()) {
            text += std::exchange(separator, ",");
            append_member(text, member, row);
        }
        text += '\n';
    }
    write_file(path, text);
}

void export_ds9(const Catalog& catalog, const std::filesystem::path& path, const ExportOptions& options) {
    const bool on_sky = has_sky(catalog);
    std::string text = "# Region file format: DS9 version 4.1\nglobal width=1\n";
    text += on_sky ? "icrs\n" : "image\n";
    for (const SourceRow& source : catalog.sources) {
        if (!options.wants(source)) continue;
        const char* color = source.p_star >= 0.5 ? "cyan" : "magenta";
        if (on_sky)
            text += fmt::format("circle({:.8f},{:.8f},{}\")", double{source.ra_deg}, double{source.dec_deg}, options.ds9_radius_arcsec);
        else
            text += fmt::format("circle({:.3f},{:.3f},{})", source.x_px + 1, source.y_px + 1, options.ds9_radius_px);
        text += fmt::format(" # color={} text={{{:.2f}}}\n", color, double{source.mag});
    }
    write_file(path, text);
}

}  // namespace bliss::catalog
