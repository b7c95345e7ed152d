#include "bliss/inference/fields.hpp"

#include "bliss/core/error.hpp"
#include "bliss/survey/generic.hpp"
#include "bliss/survey/sdss.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace bliss::inference {

std::filesystem::path resolve(const std::filesystem::path& folder, const std::filesystem::path& path) {
    return path.is_absolute() ? path : folder / path;
}

std::vector<FieldSource> list_fields(const SurveyConfig& config, const std::filesystem::path& config_folder) {
    std::vector<FieldSource> fields;
    if (config.kind == SurveyKind::sdss) {
        for (const std::string& name : config.fields) {
            fields.push_back({parse_field_id(name), config.band, resolve(config_folder, config.folder)});
        }
    } else {
        for (const std::string& image : config.images) {
            const auto position = static_cast<std::int32_t>(fields.size());
            fields.push_back({{0, 0, position}, "", resolve(config_folder, image)});
        }
    }
    std::sort(fields.begin(), fields.end(), [](const FieldSource& a, const FieldSource& b) { return a.id < b.id; });
    const auto twice = std::adjacent_find(fields.begin(), fields.end(), [](const auto& a, const auto& b) { return a.id == b.id; });
    if (twice != fields.end()) throw ConfigError(fmt::format("survey.fields names {} twice", to_string(twice->id)));
    return fields;
}

survey::Frame read_field(const SurveyConfig& config, const FieldSource& field) {
    if (config.kind == SurveyKind::sdss) return survey::read_sdss_frame({field.path, field.id, field.band});
    survey::GenericImageConfig image;
    ConfigDocument::from_file(field.path).read(image);
    return survey::read_generic_frame(image, field.path.parent_path(), field.id);
}

}  // namespace bliss::inference
