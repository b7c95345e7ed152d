#include "bliss/catalog/reader.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/ids.hpp"
#include "bliss/h5/reader.hpp"

namespace bliss::catalog {

Catalog read_catalog(const std::filesystem::path& path) {
    const auto reader = h5::Reader::open(path);
    const std::int64_t version = reader.read_integer_attribute("/", "schema_version");
    if (version != k_schema_version)
        throw DataError(path.string() + ": catalogue of schema version " + std::to_string(version) +
                        ", this program reads " + std::to_string(k_schema_version) +
                        "; make the catalogue again, or use the program that made it (" +
                        reader.read_text_attribute("/", "program_version") + ")");

    Catalog catalog;
    catalog.configuration = reader.read_text_attribute("/", "configuration");
    catalog.configuration_sha256 = reader.read_text_attribute("/", "configuration_sha256");
    catalog.model_sha256 = reader.read_text_attribute("/", "model_sha256");
    catalog.program_version = reader.read_text_attribute("/", "program_version");
    catalog.fields = reader.read_rows<FieldRow>("fields", field_members());
    catalog.sources = reader.read_rows<SourceRow>("catalog", source_members());
    if (reader.has("samples")) catalog.samples = reader.read_rows<SampleRow>("samples", sample_members());

    const auto check = [&](const char* dataset, std::size_t rows, std::int64_t FieldRow::*first, std::int64_t FieldRow::*count) {
        std::int64_t next = 0;
        for (const FieldRow& field : catalog.fields) {
            // Packed members have no address of their own to bind to.
            const std::int64_t begin = field.*first, of_field = field.*count;
            if (begin != next || of_field < 0)
                throw DataError(path.string() + ": field " + to_string(FieldId{field.run, field.camcol, field.field}) +
                                " does not say where its rows of /" + dataset + " are; the file is damaged");
            next += of_field;
        }
        if (next != static_cast<std::int64_t>(rows))
            throw DataError(path.string() + ": /fields counts " + std::to_string(next) + " rows, /" + dataset + " holds " +
                            std::to_string(rows) + "; the file is damaged");
    };
    check("catalog", catalog.sources.size(), &FieldRow::first_source, &FieldRow::source_count);
    check("samples", catalog.samples.size(), &FieldRow::first_sample, &FieldRow::sample_count);
    return catalog;
}

}  // namespace bliss::catalog
