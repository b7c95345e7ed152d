#include "bliss/catalog/export.hpp"
#include "bliss/fits/file.hpp"

#include <cstring>
#include <utility>

namespace bliss::catalog {

namespace {

/// One element of a member in each row, converted to To.
template <class From, class To>
std::vector<To> elements(std::span<const std::byte> rows, std::size_t row_bytes, std::size_t offset) {
    std::vector<To> values;
    for (std::size_t start = 0; start < rows.size(); start += row_bytes) {
        From value;
        std::memcpy(&value, rows.data() + start + offset, sizeof(From));
        values.push_back(static_cast<To>(value));
    }
    return values;
}

std::vector<std::string> texts(std::span<const std::byte> rows, std::size_t row_bytes, const Member& member) {
    std::vector<std::string> values;
    for (std::size_t start = 0; start < rows.size(); start += row_bytes) {
        const std::string padded(reinterpret_cast<const char*>(rows.data() + start + member.offset), member.length);
        values.push_back(padded.substr(0, padded.find('\0')));
    }
    return values;
}

fits::ColumnValues column_values(std::span<const std::byte> rows, std::size_t row_bytes, const Member& member, std::size_t i) {
    switch (member.type) {
        case Member::Type::i32:
            return elements<std::int32_t, std::int32_t>(rows, row_bytes, member.offset + 4 * i);
        case Member::Type::i64:
            return elements<std::int64_t, std::int64_t>(rows, row_bytes, member.offset + 8 * i);
        // FITS has no plain unsigned 32-bit column.
        case Member::Type::u32:
            return elements<std::uint32_t, std::int64_t>(rows, row_bytes, member.offset + 4 * i);
        case Member::Type::f32:
            return elements<float, float>(rows, row_bytes, member.offset + 4 * i);
        case Member::Type::f64:
            return elements<double, double>(rows, row_bytes, member.offset + 8 * i);
        case Member::Type::text:
            break;
    }
    return texts(rows, row_bytes, member);
}

/// The FITS standard spells pixels out (version 4.0, table 4); nanomaggies have no name there and keep theirs.
std::string fits_unit(std::string_view unit) { return unit == "px" ? "pixel" : std::string{unit}; }

template <class Row>
std::vector<fits::Column> columns(const std::vector<Row>& table, std::span<const Member> members) {
    const auto rows = std::as_bytes(std::span{table});
    std::vector<fits::Column> all;
    for (const Member& member : members) {
        const std::size_t count = member.type == Member::Type::text ? 1 : member.length;
        for (std::size_t i = 0; i < count; ++i) {
            std::string name{member.name};
            if (count > 1) name.append("_").append(std::to_string(i));
            all.push_back(
                {std::move(name), fits_unit(member.unit), std::string{member.about}, column_values(rows, sizeof(Row), member, i)});
        }
    }
    return all;
}

}  // namespace

void export_fits(const Catalog& catalog, const std::filesystem::path& path, const ExportOptions& options) {
    std::vector<SourceRow> sources;
    std::vector<FieldRow> fields = catalog.fields;
    for (FieldRow& field : fields) {
        const std::int64_t first = std::ssize(sources);
        for (const SourceRow& source : sources_of(catalog, field))
            if (options.wants(source)) sources.push_back(source);
        field.first_source = first;
        field.source_count = std::ssize(sources) - first;
    }

    auto file = fits::FitsFile::create(path);
    file.write_table("CATALOG", columns(sources, source_members()));
    file.write_key("BLISSVER", catalog.program_version, "program that made the catalogue");
    file.write_key("SCHEMA", k_schema_version, "version of the catalogue's layout");
    file.write_key("MODELSHA", catalog.model_sha256, "SHA256 of the model");
    file.write_key("CONFSHA", catalog.configuration_sha256, "SHA256 of the configuration");
    file.write_table("FIELDS", columns(fields, field_members()));
    file.commit();
}

}  // namespace bliss::catalog
