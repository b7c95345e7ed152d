#include "bliss/inference/fields.hpp"

#include "bliss/core/error.hpp"
#include "bliss/survey/generic.hpp"
#include "bliss/survey/sdss.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace bliss::inference {

namespace {

/// The fields of these names. @throws ConfigError for a name that is none of theirs.
std::vector<FieldSource> choose(const std::vector<FieldSource>& fields, const std::vector<std::string>& names) {
    std::vector<FieldSource> chosen;
    for (const std::string& name : names) {
        const FieldId id = parse_field_id(name);
        const auto found = std::find_if(fields.begin(), fields.end(), [&](const FieldSource& field) { return field.id == id; });
        if (found == fields.end()) {
            throw ConfigError(fmt::format("there is no field {}: survey.images names {}, fields 0-0-0 to 0-0-{}", name, fields.size(),
                                          fields.size() - 1));
        }
        chosen.push_back(*found);
    }
    return chosen;
}

/// Runs `read`; an error that does not name the image's configuration gets its path in front.
template <class Read>
survey::Frame with_path(const std::filesystem::path& path, Read&& read) {
    const auto named = [&](const Error& error) {
        const std::string what = error.what();
        return what.find(path.string()) == std::string::npos ? fmt::format("{}: {}", path.string(), what) : what;
    };
    try {
        return read();
    } catch (const ConfigError& error) {
        throw ConfigError(named(error));
    } catch (const DataError& error) {
        throw DataError(named(error));
    }
}

}  // namespace

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
        if (!config.fields.empty()) fields = choose(fields, config.fields);
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
    return with_path(field.path, [&] { return survey::read_generic_frame(image, field.path.parent_path(), field.id); });
}

}  // namespace bliss::inference
